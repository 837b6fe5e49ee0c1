// SPDX-License-Identifier: Apache-2.0
// Page tables: the input is physical memory; its first 24 bytes say the depth, an address and the
// root.
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/map.h>

#include "../tests/unit/kernel_memory.h"
#include "kernel/memory.h"
#include "kernel/pgtable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_CALLS = 4096,
};

static bool count_ranges(void *arg, const struct pgtable_range *range)
{
	if (!range->size)
		abort();
	return --*(int *)arg > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t head[3];
	uint8_t buf[256];
	int calls = MAX_CALLS;
	struct pgtable_leaf leaf;

	if (size < sizeof(head) || size > 1 << 20)
		return 0;
	memcpy(head, data, sizeof(head));

	struct gs_target *target = memory_target(0, size);
	struct memory memory = {
		.target = target,
		.map = { .levels = 4 + head[0] % 2,
			 .root_phys = head[2],
			 .phys_mask = GS_PTE_ADDR },
	};
	struct pgtable pgtable = memory_pgtable(&memory);

	memcpy(memory_at(target, 0), data, size);

	struct gs_error *err = pgtable_walk(&pgtable, head[1], &leaf);

	if (!err && (leaf.phys & ~GS_PTE_ADDR & ~UINT64_C(0xfff)))
		abort();
	gs_error_destroy(err);
	gs_error_destroy(memory_read(&memory, head[1], buf, sizeof(buf)));
	gs_error_destroy(memory_read_string(&memory, head[1] + 4000, (char *)buf, sizeof(buf)));
	gs_error_destroy(pgtable_for_each(&pgtable, head[1], UINT64_MAX, count_ranges, &calls));
	gs_target_close(target);
	return 0;
}
