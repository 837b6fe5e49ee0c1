/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a kind of target implements, and what target.c gives it.
 */
#ifndef GS_TARGET_OPS_H
#define GS_TARGET_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/target.h>

#include "target/ranges.h"

/** Operations of a target; @p self is what gs_target_create() was given. */
struct gs_target_ops {
	/** True if page @p page of segment @p index may be read through its host address from now on. */
	bool (*fault)(void *self, size_t index, uint64_t page);

	/**
	 * The next extent of pages with contents at or after @p page of segment @p index: pages
	 * *begin to *end - 1. Stops before @p limit (a page of the segment, or its page count).
	 * @return false: no further page before @p limit.
	 */
	bool (*next)(void *self, size_t index, uint64_t page, uint64_t limit, uint64_t *begin,
		     uint64_t *end);

	/**
	 * True if pages that next() reports may be read at once, without fault().
	 */
	bool in_place;

	/** See gs_target_io_memory(). */
	bool io_memory;

	/** See gs_target_note(). NULL: does not know. */
	uint64_t (*note)(void *self);

	/** Unmap and release everything. */
	void (*close)(void *self);
};

/**
 * Make a target.
 *
 * @param segments One for each range, sorted, in an array that the target takes and ends with free();
 *                 `present` is filled in here.
 * @param self Goes to each operation. Always taken, also on error (then closed).
 */
struct gs_error *gs_target_create(const struct gs_target_ops *ops, void *self,
				  struct gs_segment *segments, size_t count,
				  struct gs_target **ret);

/** One bitmap of @p pages bits, all clear; memory is used only where bits get set. NULL if memory is short. */
uint64_t *gs_bitmap_create(uint64_t pages);
void gs_bitmap_destroy(uint64_t *bitmap, uint64_t pages);

/** Set bits first to last - 1. Thread-safe; earlier stores of this thread are seen by who sees the bits. */
void gs_bitmap_set(uint64_t *bitmap, uint64_t first, uint64_t last);

static inline bool gs_bitmap_test(const uint64_t *bitmap, uint64_t bit)
{
	return __atomic_load_n(&bitmap[bit / 64], __ATOMIC_ACQUIRE) >> (bit % 64) & 1;
}

/** First bit at or after @p bit that equals @p value; @p limit if none before it. */
uint64_t gs_bitmap_find(const uint64_t *bitmap, uint64_t bit, uint64_t limit, bool value);

/** How each scheme is opened; @p rest is the specification behind the colon. */
struct gs_error *gs_qemu_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret);
struct gs_error *gs_core_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret);

struct gs_error *gs_host_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret);

/** The layout option, or NULL; heeds the size that the caller's structure has. */
const char *gs_target_layout(const struct gs_target_options *options);

#endif
