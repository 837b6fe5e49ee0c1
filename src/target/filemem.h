/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Targets whose memory lies uncompressed in files: a guest's RAM files, ELF cores, LiME, raw images.
 */
#ifndef GS_TARGET_FILEMEM_H
#define GS_TARGET_FILEMEM_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/target.h>

#include "target/ranges.h"

/**
 * A target may have this many segments that are mapped from files; a file with more pieces is
 * copied page by page as it is read. Below GS_MAP_SEGMENTS, so that engines can take them all.
 */
#define GS_FILEMEM_SEGMENTS 512

/** A file that ranges point into. Zero-initialise, then set fd and the like; -1 stands for no file. */
struct gs_source {
	/** Opened for reading; owned. */
	int fd;
	/** For messages; owned. */
	char *name;
	/** Bytes in the file. */
	uint64_t size;
	/**
	 * On hugetlbfs: /proc/PID/pagemap of a process that maps the file, and the address where it
	 * has offset 0. hugetlbfs does not tell holes by SEEK_DATA; the page tables of QEMU do. -1: none.
	 */
	int pagemap_fd;
	uint64_t pagemap_address;

	/** Where map_offset of the file is mapped, filled in by gs_filemem_create(). */
	uint8_t *map;
	uint64_t map_offset, map_size;
	/** Size of a huge page on hugetlbfs; 0 elsewhere. */
	uint64_t huge;
	/** What mappings of a device begin and end at a multiple of (devdax.h), which has no holes; 0: a file. */
	uint64_t device_align;
};

/** The sources and ranges of a target under construction. */
struct gs_filemem {
	struct gs_source *sources;
	size_t source_count, source_capacity;
	struct gs_ranges ranges;
};

void gs_filemem_destroy(struct gs_filemem *mem);

static inline void gs_cleanup_filemem(struct gs_filemem **mem)
{
	gs_filemem_destroy(*mem);
}

/** gs_filemem_destroy() at the end of the scope. */
#define _cleanup_filemem_ __attribute__((cleanup(gs_cleanup_filemem)))

/**
 * Tell the size of a file or device.
 *
 * @param device_align_ret As in struct gs_source.
 */
struct gs_error *gs_filemem_size(int fd, uint64_t *size_ret, uint64_t *device_align_ret);

/**
 * Take @p fd as a source.
 *
 * @param fd Always taken, also on error.
 * @param ret Its index, for gs_range.source.
 */
struct gs_error *gs_filemem_add_source(struct gs_filemem *mem, int fd, const char *name,
				       uint32_t *ret);

/**
 * Make a target out of it. Ranges are normalized and trimmed to whole pages; ranges without source
 * read as zeroes.
 *
 * @param mem From malloc(); always taken, also on error.
 */
struct gs_error *gs_filemem_create(struct gs_filemem *mem, struct gs_target **ret);

#endif
