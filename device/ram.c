// SPDX-License-Identifier: Apache-2.0
// The target's memory page by page.
#include "rt.h"

static uint64_t pages_of(const struct gs_map_segment *segment)
{
	return segment->end > segment->phys ? (segment->end - segment->phys) >> GS_RT_PAGE_SHIFT
					    : 0;
}

static uint32_t segment_count(const struct gs_block GS_SHARED *block)
{
	uint32_t count = block->map.segment_count;

	return count < GS_MAP_SEGMENTS ? count : GS_MAP_SEGMENTS;
}

__attribute__((noinline)) uint64_t gs_rt_ram_pages(struct gs_ctx *ctx)
{
	const struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t count = segment_count(block);
	uint64_t pages = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct gs_map_segment segment = segment_at(block, i);

		pages += pages_of(&segment);
	}
	return pages;
}

__attribute__((noinline)) const void *gs_rt_ram_page(struct gs_ctx *ctx, uint64_t index)
{
	const struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t count = segment_count(block);

	for (uint32_t i = 0; i < count; i++) {
		struct gs_map_segment segment = segment_at(block, i);
		uint64_t pages = pages_of(&segment);

		if (index >= pages) {
			index -= pages;
			continue;
		}

		uint64_t phys = segment.phys + (index << GS_RT_PAGE_SHIFT);
		uint64_t address = block->map.direct_base + phys;

		if (phys >= block->map.direct_size || !gs_rt_page(ctx, address))
			return 0;
		return (const void *)address;
	}
	return 0;
}
