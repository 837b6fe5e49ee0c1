// SPDX-License-Identifier: Apache-2.0
#include "target/ranges.h"

#include <inttypes.h>
#include <stdlib.h>

#include <gpusentinel/target.h>

#include "util/array.h"
#include "util/cleanup.h"

void gs_ranges_deinit(struct gs_ranges *ranges)
{
	free(ranges->ranges);
	*ranges = (struct gs_ranges){};
}

struct gs_error *gs_ranges_add(struct gs_ranges *ranges, const struct gs_range *range)
{
	uint64_t end;

	if (range->size == 0)
		return NULL;
	if (__builtin_add_overflow(range->phys, range->size, &end) || end > GS_PHYS_MAX)
		return gs_error_address(
			GS_ERROR_TARGET, range->phys,
			"memory of %" PRIu64 " bytes at physical address 0x%" PRIx64
			" lies outside the 52-bit address space; the layout is damaged",
			range->size, range->phys);
	if (!gs_array_push(ranges->ranges, ranges->count, ranges->capacity, *range))
		return &gs_enomem;
	return NULL;
}

// A boundary of a range in the sweep over the physical address space.
struct boundary {
	uint64_t phys;
	size_t index;
	bool begins;
};

static int compare_boundaries(const void *pa, const void *pb)
{
	const struct boundary *a = pa, *b = pb;

	if (a->phys != b->phys)
		return a->phys < b->phys ? -1 : 1;
	return 0;
}

// A binary min-heap of range indices in order of preference.
struct heap {
	const struct gs_range *ranges;
	size_t *items;
	size_t count;
};

static bool preferred(const struct gs_range *ranges, size_t a, size_t b)
{
	bool a_none = ranges[a].source == GS_SOURCE_NONE;
	bool b_none = ranges[b].source == GS_SOURCE_NONE;

	if (a_none != b_none)
		return b_none;
	return a < b;
}

static void swap_items(size_t *a, size_t *b)
{
	size_t t = *a;

	*a = *b;
	*b = t;
}

static void heap_push(struct heap *heap, size_t index)
{
	size_t i = heap->count++;

	heap->items[i] = index;
	while (i && preferred(heap->ranges, heap->items[i], heap->items[(i - 1) / 2])) {
		swap_items(&heap->items[i], &heap->items[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static void heap_pop(struct heap *heap)
{
	size_t i = 0;

	heap->items[0] = heap->items[--heap->count];
	for (;;) {
		size_t best = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < heap->count; child++) {
			if (preferred(heap->ranges, heap->items[child], heap->items[best]))
				best = child;
		}
		if (best == i)
			return;
		swap_items(&heap->items[i], &heap->items[best]);
		i = best;
	}
}

// Append the piece [phys, end) of range, joined with the last one where phys and bytes go on.
static bool append_piece(struct gs_ranges *out, const struct gs_range *range, uint64_t phys,
			 uint64_t end)
{
	struct gs_range piece = {
		.phys = phys,
		.size = end - phys,
		.offset =
			range->source == GS_SOURCE_NONE ? 0 : range->offset + (phys - range->phys),
		.source = range->source,
	};
	struct gs_range *last = out->count ? &out->ranges[out->count - 1] : NULL;

	if (last && last->source == piece.source && last->phys + last->size == phys &&
	    (piece.source == GS_SOURCE_NONE || last->offset + last->size == piece.offset)) {
		last->size += piece.size;
		return true;
	}
	return gs_array_push(out->ranges, out->count, out->capacity, piece);
}

// A sweep with a heap of the open ranges: n log n for whatever overlaps a damaged file describes.
static bool sweep(const struct gs_ranges *in, struct gs_ranges *out)
{
	size_t total;

	if (__builtin_mul_overflow(in->count, (size_t)2, &total))
		return false;

	_cleanup_free_ struct boundary *boundaries = calloc(total, sizeof(*boundaries));
	_cleanup_free_ size_t *items = calloc(in->count, sizeof(*items));

	if (!boundaries || !items)
		return false;
	for (size_t i = 0; i < in->count; i++) {
		const struct gs_range *range = &in->ranges[i];

		boundaries[2 * i] = (struct boundary){ range->phys, i, true };
		boundaries[2 * i + 1] = (struct boundary){ range->phys + range->size, i, false };
	}
	qsort(boundaries, total, sizeof(*boundaries), compare_boundaries);

	struct heap heap = { in->ranges, items, 0 };

	for (size_t i = 0; i < total; i++) {
		if (boundaries[i].begins)
			heap_push(&heap, boundaries[i].index);

		uint64_t from = boundaries[i].phys;

		if (i + 1 == total || boundaries[i + 1].phys == from)
			continue;

		uint64_t to = boundaries[i + 1].phys;

		// Ranges that ended stay in the heap until they come to its top.
		while (heap.count) {
			const struct gs_range *top = &in->ranges[heap.items[0]];

			if (top->phys + top->size > from)
				break;
			heap_pop(&heap);
		}
		if (heap.count && !append_piece(out, &in->ranges[heap.items[0]], from, to))
			return false;
	}
	return true;
}

struct gs_error *gs_ranges_normalize(struct gs_ranges *ranges)
{
	struct gs_ranges out = {};

	if (ranges->count && !sweep(ranges, &out)) {
		gs_ranges_deinit(&out);
		return &gs_enomem;
	}
	gs_ranges_deinit(ranges);
	*ranges = out;
	return NULL;
}

void gs_ranges_trim_to_pages(struct gs_ranges *ranges)
{
	size_t kept = 0;

	for (size_t i = 0; i < ranges->count; i++) {
		struct gs_range range = ranges->ranges[i];
		uint64_t skip = -range.phys & (GS_PAGE_SIZE - 1);

		if (range.size <= skip)
			continue;
		range.phys += skip;
		range.size = (range.size - skip) & ~(GS_PAGE_SIZE - 1);
		if (range.source != GS_SOURCE_NONE)
			range.offset += skip;
		if (range.size)
			ranges->ranges[kept++] = range;
	}
	ranges->count = kept;
}
