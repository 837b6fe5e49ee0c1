// SPDX-License-Identifier: Apache-2.0
#include "target/ops.h"

#include <sys/mman.h>

static size_t bitmap_bytes(uint64_t pages)
{
	return (pages + 63) / 64 * sizeof(uint64_t);
}

uint64_t *gs_bitmap_create(uint64_t pages)
{
	if (pages == 0 || pages > GS_PHYS_MAX >> GS_PAGE_SHIFT)
		return NULL;

	// Not from malloc(): a bitmap of a large hole must not cost memory.
	void *p = mmap(NULL, bitmap_bytes(pages), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void gs_bitmap_destroy(uint64_t *bitmap, uint64_t pages)
{
	if (bitmap)
		munmap(bitmap, bitmap_bytes(pages));
}

void gs_bitmap_set(uint64_t *bitmap, uint64_t first, uint64_t last)
{
	while (first < last) {
		uint64_t word = first / 64;
		unsigned int low = first % 64;
		uint64_t bits = last - first < 64 - low ? last - first : 64 - low;
		uint64_t mask = (bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1) << low;

		// A plain look first: a scan of what is known already dirties no cache line.
		if ((__atomic_load_n(&bitmap[word], __ATOMIC_RELAXED) & mask) != mask)
			__atomic_fetch_or(&bitmap[word], mask, __ATOMIC_RELEASE);
		first += bits;
	}
}

uint64_t gs_bitmap_find(const uint64_t *bitmap, uint64_t bit, uint64_t limit, bool value)
{
	while (bit < limit) {
		uint64_t word = __atomic_load_n(&bitmap[bit / 64], __ATOMIC_ACQUIRE);

		if (!value)
			word = ~word;
		word >>= bit % 64;
		if (word) {
			bit += __builtin_ctzll(word);
			return bit < limit ? bit : limit;
		}
		bit = (bit / 64 + 1) * 64;
	}
	return limit;
}
