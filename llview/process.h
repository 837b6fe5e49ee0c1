/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Running other programs.
 */
#ifndef LLVIEW_PROCESS_H
#define LLVIEW_PROCESS_H

#include <gpusentinel/error.h>

/**
 * Run argv[0], looked up in PATH, to its end; *ret_status is its exit status (128 + signal if
 * killed).
 */
struct gs_error *lv_spawn(char *const *argv, int *ret_status);

#endif
