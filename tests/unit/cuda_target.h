/* SPDX-License-Identifier: Apache-2.0 */
// What stands in for a target and its kernel under the cuda engine: pages of this process, most of them holes.
#ifndef TEST_CUDA_TARGET_H
#define TEST_CUDA_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/map.h>
#include <gpusentinel/target.h>

enum { PAGES = 200 };

static uint8_t ram[PAGES * 4096] __attribute__((aligned(4096)));
static uint64_t present[(PAGES + 63) / 64];
static struct gs_segment segment = { .size = sizeof(ram), .host = ram, .present = present };
static struct gs_map map = { .direct_base = UINT64_C(0xffff888000000000),
			     .direct_size = sizeof(ram),
			     .levels = 4 };
static bool frozen;
static bool io_memory;
// Found by the next scan.
static uint64_t new_page;

#include "engine_kernel.h"

bool gs_target_frozen(const struct gs_target *target)
{
	(void)target;
	return frozen;
}

bool gs_target_io_memory(const struct gs_target *target)
{
	(void)target;
	return io_memory;
}

static void set_present(uint64_t page)
{
	present[page / 64] |= UINT64_C(1) << page % 64;
}

bool gs_target_fault(struct gs_target *target, size_t index, uint64_t page)
{
	(void)target;
	(void)index;
	return present[page / 64] >> page % 64 & 1;
}

uint64_t gs_target_scan(struct gs_target *target)
{
	(void)target;
	if (new_page)
		set_present(new_page);
	return 0;
}

bool gs_target_next_present(struct gs_target *target, uint64_t phys, uint64_t *ret)
{
	for (uint64_t page = phys >> 12; page < PAGES; page++) {
		if (gs_target_fault(target, 0, page)) {
			*ret = page << 12;
			return true;
		}
	}
	return false;
}

#endif
