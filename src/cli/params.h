/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * `-p DETECTOR.NAME=VALUE`: parameters that the command line sets.
 */
#ifndef GS_CLI_PARAMS_H
#define GS_CLI_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

struct param {
	/** New memory. */
	char *detector, *name;
	uint64_t value;
};

/** Zero-initialise; end it with params_deinit(). */
struct params {
	struct param *list;
	size_t count, capacity;
};

void params_deinit(struct params *params);

/** Take what was given as "DETECTOR.NAME=VALUE". */
struct gs_error *params_parse(struct params *params, const char *text);

#endif
