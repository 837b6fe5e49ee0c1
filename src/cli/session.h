/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * From the command line's words to open targets, kernels, engines and detectors.
 *
 * Each function opens what it needs below it, once, so that a command pays only for what it uses.
 */
#ifndef GS_CLI_SESSION_H
#define GS_CLI_SESSION_H

#include "cli/cli.h"
#include "cli/rows.h"

/** Open -t; GS_ERROR_USAGE if it was not given. */
struct gs_error *cli_open_target(struct cli *cli);
struct gs_error *cli_open_kernel(struct cli *cli);
struct gs_error *cli_open_engine(struct cli *cli);

/** End everything that was opened. */
void cli_close(struct cli *cli);

/** Open a fat detector; it ends with cli_close(). */
struct gs_error *cli_open_fat(struct cli *cli, const char *path, struct gs_fat **ret);
/** End it earlier: none of its detectors is in the engine any more. */
void cli_close_fat(struct cli *cli, struct gs_fat *fat);

/** Add detector @p index of @p fat to the engine with the command line's budget, which goes into @p options. */
struct gs_error *cli_add(struct cli *cli, struct gs_fat *fat, size_t index,
			 struct gs_detector_options *options, struct gs_detector **ret);

/**
 * Run the shipped detector @p name once and collect its rows.
 * @return GS_ERROR_INCOMPLETE with what was found in @p rows, or an error without rows.
 */
struct gs_error *cli_run_once(struct cli *cli, const char *name, struct rows *rows);

#endif
