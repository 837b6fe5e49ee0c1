/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A progress bar on standard error: on a terminal only, and only for work that takes over a second.
 */
#ifndef GS_CLI_PROGRESS_H
#define GS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	/** Bytes to do. */
	uint64_t total;
	uint64_t start_ns, shown_ns;
	bool terminal, shown;
};

void progress_init(struct progress *progress, const char *what, uint64_t total);

/** @p done bytes of the total are done; draws at most ten times a second. */
void progress_update(struct progress *progress, uint64_t done);

/** Remove the bar. */
void progress_deinit(struct progress *progress);

#endif
