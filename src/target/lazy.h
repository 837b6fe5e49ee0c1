/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Targets whose pages are made when they are first read: compressed cores, cores in many pieces.
 */
#ifndef GS_TARGET_LAZY_H
#define GS_TARGET_LAZY_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/target.h>

#include "target/ranges.h"

struct gs_lazy_ops {
	/**
	 * Write the page at @p phys to @p page (GS_PAGE_SIZE bytes of zeroes). Called under a lock.
	 * @return false: it has no contents, or they are damaged.
	 */
	bool (*fill)(void *self, uint64_t phys, void *page);

	/** Set in @p bitmap (all clear) the bits of those of @p pages pages at @p phys that have contents. */
	void (*available)(void *self, uint64_t phys, uint64_t pages, uint64_t *bitmap);

	/** Release @p self. */
	void (*close)(void *self);
};

/**
 * Make a target with one segment for each of @p ranges.
 *
 * @param self Goes to each operation; always taken, also on error.
 * @param ranges Normalized, whole pages; always taken. Only phys and size matter.
 */
struct gs_error *gs_lazy_create(const struct gs_lazy_ops *ops, void *self, struct gs_ranges *ranges,
				struct gs_target **ret);

#endif
