// SPDX-License-Identifier: Apache-2.0
// The target's memory page by page.
#include "rt.h"

static uint64_t pages_of(const struct gs_map_segment *segment)
{
	return segment->end > segment->phys ? (segment->end - segment->phys) >> GS_RT_PAGE_SHIFT
					    : 0;
}

static uint32_t segment_count(const struct gs_map *map)
{
	return map->segment_count < GS_MAP_SEGMENTS ? map->segment_count : GS_MAP_SEGMENTS;
}

uint64_t gs_rt_ram_pages(struct gs_ctx *ctx)
{
	const struct gs_map *map = (const struct gs_map *)ctx->map;
	const struct gs_map_segment *segments = (const struct gs_map_segment *)map->segments;
	uint32_t count = segment_count(map);
	uint64_t pages = 0;

	for (uint32_t i = 0; i < count; i++)
		pages += pages_of(&segments[i]);
	return pages;
}

__attribute__((noinline)) const void *gs_rt_ram_page(struct gs_ctx *ctx, uint64_t index)
{
	const struct gs_map *map = (const struct gs_map *)ctx->map;
	const struct gs_map_segment *segments = (const struct gs_map_segment *)map->segments;
	uint32_t count = segment_count(map);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t pages = pages_of(&segments[i]);

		if (index >= pages) {
			index -= pages;
			continue;
		}

		uint64_t phys = segments[i].phys + (index << GS_RT_PAGE_SHIFT);

		if (phys >= map->direct_size || !gs_rt_page(ctx, map->direct_base + phys))
			return 0;
		return (const void *)(map->direct_base + phys);
	}
	return 0;
}
