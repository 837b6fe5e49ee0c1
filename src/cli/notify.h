/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What systemd is told of a service, sd_notify(3). Nothing happens where nobody has asked for it.
 */
#ifndef GS_CLI_NOTIFY_H
#define GS_CLI_NOTIFY_H

#include <gpusentinel/error.h>

/** Make ready to tell: before anything is confined or memory is locked. */
struct gs_error *notify_open(void);

/** It runs, and what it does: a line without newline. */
void notify_ready(const char *status);
/** It takes its configuration anew; notify_ready() ends that. */
void notify_reloading(void);
/** It is about to end. */
void notify_stopping(void);
/** It lives; to be called more often than once in the half of WatchdogSec=. */
void notify_alive(void);

#endif
