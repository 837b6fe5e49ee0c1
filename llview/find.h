/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where the things are that llview needs: beside it in the build tree, or installed.
 */
#ifndef LLVIEW_FIND_H
#define LLVIEW_FIND_H

/** Directory of gpusentinel/detector.h as new memory, or NULL. */
char *lv_find_include(void);

/**
 * Directory of the runtime's bitcode as new memory, or NULL: @p option, $GPUSENTINEL_RUNTIME,
 * ../device beside the program, the installed place.
 */
char *lv_find_runtime(const char *option);

#endif
