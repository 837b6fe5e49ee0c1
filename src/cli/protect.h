/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Keeping the process that watches alive while the machine that it runs on has no memory left.
 */
#ifndef GS_CLI_PROTECT_H
#define GS_CLI_PROTECT_H

#include <stddef.h>

#include <gpusentinel/error.h>
#include <gpusentinel/target.h>

/**
 * Lock this process's memory, what it has and what it will have, and exempt it from the kernel's choice of whom to
 * kill. Of the target's memory nothing is locked, and none of its holes is filled.
 *
 * @return GS_ERROR_OTHER with one line that says what could not be done and what helps; the rest is done.
 */
struct gs_error *protect_process(const struct gs_segment *segments, size_t count);

#endif
