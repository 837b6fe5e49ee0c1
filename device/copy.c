// SPDX-License-Identifier: Apache-2.0
// Copies from kernel memory to local memory.
#include "rt.h"

typedef uint64_t __attribute__((may_alias)) copy_word;

static void zero(uint8_t *to, uint64_t size)
{
	// Volatile, or the compiler makes this a call of memset(), which a device does not have.
	volatile uint8_t *p = to;

	for (uint64_t i = 0; i < size; i++)
		p[i] = 0;
}

static void copy_page(uint8_t *to, uint64_t from, uint64_t size)
{
	uint64_t i = 0;

	if ((((uintptr_t)to | from) & 7) == 0) {
		for (; size - i >= 8; i += 8)
			*(copy_word *)(to + i) = *(const volatile copy_word *)(from + i);
	}
	for (; i < size; i++)
		to[i] = *(const volatile uint8_t *)(from + i);
}

__attribute__((noinline)) void gs_rt_copy(struct gs_ctx *ctx, void *local, uint64_t address,
					  uint64_t size)
{
	uint8_t *to = local;

	if (size && address + (size - 1) < address) {
		gs_rt_fault(ctx, address);
		zero(to, size);
		return;
	}
	while (size) {
		uint64_t offset = address & GS_RT_PAGE_MASK;
		uint64_t chunk = GS_RT_PAGE_SIZE - offset;
		uint64_t page = gs_rt_page(ctx, address);

		if (chunk > size)
			chunk = size;
		if (page) {
			copy_page(to, page + offset, chunk);
		} else {
			gs_rt_fault(ctx, address);
			zero(to, chunk);
		}
		to += chunk;
		address += chunk;
		size -= chunk;
	}
}
