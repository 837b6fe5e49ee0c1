/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The lender's end of a socket of `grass hold` (borrow.h). What a borrower says is taken for nothing but what it may say.
 */
#ifndef GS_GRASS_CLI_LEND_H
#define GS_GRASS_CLI_LEND_H

#include "grass_cli/host.h"

/** Hear whom a new borrower means. False: it does not say so. */
bool lend_hear(int fd, char name_ret[HOST_NAME_MAX_SIZE]);

/** Tell it why it gets nothing. */
void lend_refuse(int fd, const char *why);

/**
 * Welcome it, and do what it asks until it ends, errs, or has asked for nothing for a minute.
 * @param data HOLD_SIZE_MAX bytes to work with.
 */
void lend_host(int fd, struct host *host, void *data);

#endif
