/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Large files that get their name when they are complete.
 */
#ifndef GS_CLI_OUTFILE_H
#define GS_CLI_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** GS_ERROR_OTHER if @p path exists and @p force is not given. */
struct gs_error *outfile_check(const char *path, bool force);

/** GS_ERROR_OTHER unless the file system of @p fd has @p need bytes left. */
struct gs_error *outfile_check_space(int fd, const char *path, uint64_t need);

/** Write all of it. GS_ERROR_OTHER if that fails, or @p stop becomes true: "@p path: interrupted, @p then". */
struct gs_error *outfile_write(int fd, const char *path, const void *data, size_t size,
			       uint64_t offset, const volatile bool *stop, const char *then);

/** Rename; @p path is replaced if it exists and @p force is given. */
struct gs_error *outfile_move(const char *temporary, const char *path, bool force);

#endif
