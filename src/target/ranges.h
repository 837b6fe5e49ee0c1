/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Ranges of physical memory while a target is being put together.
 */
#ifndef GS_TARGET_RANGES_H
#define GS_TARGET_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** x86-64 has at most 52 physical address bits (Intel SDM volume 3, 4.1.4). */
#define GS_PHYS_MAX (UINT64_C(1) << 52)

/** Source of a range that has no bytes anywhere: it reads as zeroes. */
#define GS_SOURCE_NONE UINT32_MAX

struct gs_range {
	/** Physical address and length in bytes. */
	uint64_t phys, size;
	/** Where the bytes lie in the source. */
	uint64_t offset;
	/** Which source (file) holds the bytes, or GS_SOURCE_NONE. */
	uint32_t source;
};

struct gs_ranges {
	struct gs_range *ranges;
	size_t count, capacity;
};

void gs_ranges_deinit(struct gs_ranges *ranges);

/** Append a range; empty ones are dropped. @return GS_ERROR_TARGET if it leaves the 52-bit physical address space. */
struct gs_error *gs_ranges_add(struct gs_ranges *ranges, const struct gs_range *range);

/**
 * Sort by physical address and remove overlaps, so that each address is there once: bytes win over
 * GS_SOURCE_NONE, then the range that was added first wins.  Neighbours whose bytes are neighbours
 * too become one range.
 */
struct gs_error *gs_ranges_normalize(struct gs_ranges *ranges);

/** Shrink each range of normalized @p ranges to whole pages and drop what is left without one. */
void gs_ranges_trim_to_pages(struct gs_ranges *ranges);

#endif
