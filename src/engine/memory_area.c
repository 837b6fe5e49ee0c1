// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_area.h"

#include <gpusentinel/map.h>
#include <gpusentinel/target.h>

#include "mailbox/layout.h"
#include "util/cleanup.h"

struct gs_mailbox_memory *memory_area_make(struct gs_kernel *kernel, size_t *size_ret)
{
	const struct gs_map *map = gs_kernel_map(kernel);
	struct gs_kernel_facts facts;
	size_t count;
	const struct gs_segment *segments = gs_target_segments(gs_kernel_target(kernel), &count);

	gs_kernel_facts(kernel, &facts);
	if (count > GS_MAP_SEGMENTS)
		count = GS_MAP_SEGMENTS;

	size_t size = sizeof(struct gs_mailbox_memory) + count * sizeof(struct gs_mailbox_segment);
	struct gs_mailbox_memory *memory = calloc(1, size);

	if (!memory)
		return NULL;
	memory->segment_count = (uint32_t)count;
	memory->note_phys = facts.note_phys;
	memory->note_size = facts.note_size;
	memory->direct_base = map->direct_base;
	memory->image_base = map->image_base;
	memory->image_phys = map->image_phys;
	memory->image_size = map->image_size;
	for (size_t i = 0; i < count; i++)
		memory->segments[i] =
			(struct gs_mailbox_segment){ segments[i].phys, segments[i].size };
	memory->crc = mailbox_crc(memory, size, &memory->crc);
	*size_ret = size;
	return memory;
}
