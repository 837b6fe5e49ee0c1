/* SPDX-License-Identifier: Apache-2.0 */
// What programs for GPU hosts share.
#ifndef TESTS_GPU_TOOL_H
#define TESTS_GPU_TOOL_H

#include <err.h>

#include <gpusentinel/engine.h>

#include "util/clock.h"

static inline void die_of(struct gs_error *error, int code)
{
	if (error)
		errx(code, "%s", error->message);
}

// A gs_record_fn.
static inline void ignore(void *arg, const struct gs_record *record)
{
	(void)arg;
	(void)record;
}

#endif
