/* SPDX-License-Identifier: Apache-2.0 */
// Physical memory in an array, in place of src/target: for tests and fuzzing of src/kernel. Include
// it in one file of a program; it defines the gs_target functions.
#ifndef TESTS_UNIT_KERNEL_MEMORY_H
#define TESTS_UNIT_KERNEL_MEMORY_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/target.h>

struct gs_target {
	struct gs_segment segment;
};

static inline struct gs_target *memory_target(uint64_t phys, uint64_t size)
{
	struct gs_target *target = calloc(1, sizeof(*target));

	size = (size + GS_PAGE_SIZE - 1) & ~(GS_PAGE_SIZE - 1);
	target->segment.phys = phys;
	target->segment.size = size;
	target->segment.host = calloc(1, size);
	target->segment.present = malloc(size / GS_PAGE_SIZE / 8 + 8);
	memset(target->segment.present, 0xff, size / GS_PAGE_SIZE / 8 + 8);
	return target;
}

// Writable, unlike what the layers above see.
static inline void *memory_at(struct gs_target *target, uint64_t phys)
{
	return (uint8_t *)target->segment.host + (phys - target->segment.phys);
}

void gs_target_close(struct gs_target *target)
{
	if (!target)
		return;
	free((void *)target->segment.host);
	free(target->segment.present);
	free(target);
}

const char *gs_target_spec(const struct gs_target *target)
{
	(void)target;
	return "test";
}

bool gs_target_note(const struct gs_target *target, uint64_t *ret)
{
	(void)target;
	*ret = 0;
	return false;
}

const struct gs_segment *gs_target_segments(const struct gs_target *target, size_t *count_ret)
{
	*count_ret = 1;
	return &target->segment;
}

const void *gs_target_map(struct gs_target *target, uint64_t phys, uint64_t size)
{
	const struct gs_segment *segment = &target->segment;
	uint64_t offset = phys - segment->phys;

	if (phys < segment->phys || offset > segment->size || size > segment->size - offset)
		return NULL;
	return segment->host + offset;
}

struct gs_error *gs_target_read(struct gs_target *target, uint64_t phys, void *buf, uint64_t size)
{
	const void *from = gs_target_map(target, phys, size);

	if (!from)
		return gs_error_address(GS_ERROR_TARGET, phys, "no memory at physical 0x%llx",
					(unsigned long long)phys);
	memcpy(buf, from, size);
	return NULL;
}

bool gs_target_next_present(struct gs_target *target, uint64_t phys, uint64_t *ret)
{
	const struct gs_segment *segment = &target->segment;

	if (phys < segment->phys)
		phys = segment->phys;
	phys = (phys + GS_PAGE_SIZE - 1) & ~(GS_PAGE_SIZE - 1);
	if (phys - segment->phys >= segment->size)
		return false;
	*ret = phys;
	return true;
}

#endif
