/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Values of detectors' parameters: -p of the command line, else what the configuration says, else the defaults.
 */
#ifndef GS_CLI_SETTINGS_H
#define GS_CLI_SETTINGS_H

#include "cli/chosen.h"

/** The values of all parameters of a file; NULL: nothing is said by @p params or @p config. @p ret ends with free(). */
struct gs_error *settings_of(const struct params *params, const struct config *config,
			     const struct gs_fat *fat, struct gs_param_value **ret,
			     size_t *count_ret);

/**
 * Whether all that is said is for detectors that are chosen and for parameters that they have. What the configuration says of
 * a detector that is not run is told on standard error.
 * @return GS_ERROR_USAGE for what does not exist, and for a detector of -p that is not run.
 */
struct gs_error *settings_check(const struct chosen *chosen, const struct cli *cli);

/** Give all parameters of one that is chosen their values, while it runs. */
struct gs_error *settings_apply(const struct chosen *chosen, size_t index);

#endif
