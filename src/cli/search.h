/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where detectors lie.
 *
 * The directory is the first of: --detectors, $GPUSENTINEL_DETECTORS, the build tree that this program was
 * built in, the directory of the installation.
 */
#ifndef GS_CLI_SEARCH_H
#define GS_CLI_SEARCH_H

#include "cli/cli.h"

/** The directory; to be freed. */
struct gs_error *search_directory(const struct cli *cli, char **ret);

/**
 * The file of a detector.
 *
 * @param name A detector's name, or the path of a file: it contains a '/' or ends with ".so".
 * @param ret To be freed.
 * @return GS_ERROR_DETECTOR if there is none.
 */
struct gs_error *search_detector(const struct cli *cli, const char *name, char **ret);

/** Index of detector @p name in @p fat, which was opened from @p path. */
struct gs_error *search_in_fat(const struct gs_fat *fat, const char *name, const char *path,
			       size_t *ret);

/**
 * All files in the directory, sorted by name.
 * @param ret Array of @p count_ret strings; to be freed with search_free().
 */
struct gs_error *search_all(const struct cli *cli, char ***ret, size_t *count_ret);
void search_free(char **paths, size_t count);

/** The shipped rules over the kernel's log: in the directory of detectors, or in the installation. To be freed. */
struct gs_error *search_rules(const struct cli *cli, char **ret);

/** True if @p name is a path rather than a detector's name. */
bool search_is_path(const char *name);

#endif
