/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The detectors that a command runs: those that were named, or all that are shipped.
 */
#ifndef GS_CLI_CHOSEN_H
#define GS_CLI_CHOSEN_H

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/params.h"

struct chosen_detector {
	/** The engine's. */
	struct gs_detector *detector;
	struct gs_fat *fat;
	size_t index;
	/** What it was added with; 0: as the detector says. */
	uint32_t period_us;
	uint64_t budget;
};

/** Zero-initialise; end it with chosen_deinit(). */
struct chosen {
	struct chosen_detector *list;
	size_t count, capacity;
	/** Their periods: 0: what @ref config says for the detector, or for all, or what the detector says. */
	uint32_t period_us;
	/** Their parameters, before what @ref config says (settings.h); may be NULL, as it may. */
	const struct params *params;
	const struct config *config;
	/** Hears of detectors that are about to be removed; may be NULL. */
	void (*leaves)(void *arg, struct gs_detector *detector);
	void *arg;
};

void chosen_deinit(struct chosen *chosen);

/**
 * Make the engine run what was named, which is shipped detectors and all of files, or everything that is shipped, and nothing
 * else. Those that run already as they are to run go on; the others are added, then what is no longer wanted is removed.
 * All of them get their parameters. On errors everything is as before.
 *
 * Of the shipped ones, one that does not fit this kernel, or is damaged, is left out with a line on standard error, or stays
 * what it was before; it is a GS_ERROR_DETECTOR if none fits.
 *
 * @param count 0: all that are shipped.
 */
struct gs_error *chosen_set(struct chosen *chosen, struct cli *cli, char *const *names,
			    size_t count);

/** Run each once, one after the other. What comes after a first error is printed. */
struct gs_error *chosen_run_once(const struct chosen *chosen, gs_record_fn *fn, void *arg);

#endif
