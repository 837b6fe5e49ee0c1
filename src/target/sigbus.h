/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A file that shrinks while it is mapped ends its reader with SIGBUS. This turns the signal into one line.
 */
#ifndef GS_TARGET_SIGBUS_H
#define GS_TARGET_SIGBUS_H

#include <stddef.h>

#include <gpusentinel/error.h>

/**
 * Install a handler for SIGBUS: if the address lies in the memory of an open target, print
 * "gpusentinel: FILE shrank while ..." to standard error and _exit(GS_ERROR_TARGET). A SIGBUS elsewhere
 * has its default effect. For programs, not for the library itself: handlers belong to the process.
 */
struct gs_error *gs_target_guard_sigbus(void);

/**
 * Tell the handler that @p size bytes at @p address come from the file @p name, until
 * gs_sigbus_forget(). When all slots are taken the handler just does not know the name.
 */
void gs_sigbus_remember(const void *address, size_t size, const char *name);
void gs_sigbus_forget(const void *address);

#endif
