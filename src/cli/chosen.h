/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The detectors that a command runs: those that were named, or all that are shipped.
 */
#ifndef GS_CLI_CHOSEN_H
#define GS_CLI_CHOSEN_H

#include "cli/cli.h"

/** Zero-initialise; end it with chosen_deinit(). The detectors are the engine's. */
struct chosen {
	struct gs_detector **list;
	size_t count, capacity;
};

void chosen_deinit(struct chosen *chosen);

/**
 * Add what the user named: a shipped detector, or all of a file.
 * @param period_us 0: as each detector says.
 */
struct gs_error *chosen_add_named(struct chosen *chosen, struct cli *cli, const char *name,
				  uint32_t period_us);

/**
 * Add all shipped detectors. One that does not fit this kernel is left out with a line on standard error; if none does,
 * that is a GS_ERROR_DETECTOR.
 */
struct gs_error *chosen_add_shipped(struct chosen *chosen, struct cli *cli, uint32_t period_us);

/** Run each once, one after the other. What comes after a first error is printed. */
struct gs_error *chosen_run_once(const struct chosen *chosen, gs_record_fn *fn, void *arg);

#endif
