/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Options that every command takes.
 */
#ifndef GS_CLI_OPTIONS_H
#define GS_CLI_OPTIONS_H

#include "cli/cli.h"

/** Options without a character of their own; a command's start at CLI_OPTION_COMMAND. */
enum {
	CLI_OPTION_HELP = 256,
	CLI_OPTION_VERSION,
	CLI_OPTION_JSON,
	CLI_OPTION_LAYOUT,
	CLI_OPTION_SYSTEM_MAP,
	CLI_OPTION_DETECTORS,
	CLI_OPTION_BUDGET,
	CLI_OPTION_COMMAND = 512,
};

/** getopt_long() over the common options; @p mode is "+" or "". Errors and the return value as cli_getopt(). */
int cli_getopt_common(int argc, char **argv, const char *mode, struct gs_error **err);

/** Store one of the common options. */
struct gs_error *cli_set_option(struct cli *cli, int c, const char *arg);

#endif
