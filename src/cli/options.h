/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Options that every command of `gpusentinel` takes.
 */
#ifndef GS_CLI_OPTIONS_H
#define GS_CLI_OPTIONS_H

#include "cli/cli.h"

/** For struct cli_program. */
extern const char options_short[];
extern const struct option options_long[];
struct gs_error *options_set(struct cli *cli, int c, const char *arg);

#endif
