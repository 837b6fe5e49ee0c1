/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Keeps sessions with hosts open, and lends each to one program at a time (borrow.h).
 */
#ifndef GS_GRASS_CLI_HOLD_H
#define GS_GRASS_CLI_HOLD_H

#include "grass_cli/host.h"

struct hold;

/**
 * Listen on a socket at @p path, which must not be another one's, and open sessions with @p hosts.
 * @param options Lasts longer than this, as do the hosts. @param log Receives lines, from several threads.
 */
struct gs_error *hold_start(const char *path, const struct hosts *hosts,
			    const struct host_options *options, void (*log)(const char *line),
			    struct hold **ret);
/** NULL is allowed. */
void hold_stop(struct hold *hold);

#endif
