/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a process has mapped: /proc/PID/maps, and how to open the same files.
 */
#ifndef GS_TARGET_PROCMAPS_H
#define GS_TARGET_PROCMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gpusentinel/error.h>

/** One line of /proc/PID/maps. */
struct gs_vma {
	uint64_t begin, end;
	/** Offset of begin in the file. */
	uint64_t offset;
	/** Device and inode number of the file; inode 0: no file. */
	uint32_t major, minor;
	uint64_t inode;
	/** True for MAP_SHARED. */
	bool shared;
};

/** Read one line of a maps file; false if it makes no sense. */
bool gs_vma_parse(const char *line, struct gs_vma *ret);

struct gs_vmas {
	struct gs_vma *vmas;
	size_t count, capacity;
};

void gs_vmas_deinit(struct gs_vmas *vmas);

/**
 * Read the mappings of @p pid (0: of this process).
 * @return GS_ERROR_TARGET if the process may not be looked into (the message says what to do) or is gone.
 */
struct gs_error *gs_vmas_read(pid_t pid, struct gs_vmas *ret);

/**
 * The mapping that holds @p address; NULL if none.
 */
const struct gs_vma *gs_vmas_find(const struct gs_vmas *vmas, uint64_t address);

/**
 * Open for reading the file that @p vma of @p pid maps.
 *
 * Through the process's descriptors, else /proc/PID/map_files, and never by its path: a path may name
 * another file by now (unlinked and made again), none (memfd), or one in another mount namespace. What
 * is opened is compared with the mapping.
 */
struct gs_error *gs_vma_open(pid_t pid, const struct gs_vma *vma, int *ret);

#endif
