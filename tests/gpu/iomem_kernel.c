// SPDX-License-Identifier: Apache-2.0
// What iomem.c launches: it waits for one number after the other, in pages in turn, and says which it has seen.
#include <stdint.h>

#include "clock.h"

static inline uint64_t load(uint64_t address)
{
	uint64_t value;

	// As device/read.c loads from a target.
	__asm__ volatile("ld.relaxed.sys.global.u64 %0, [%1];"
			 : "=l"(value)
			 : "l"(address)
			 : "memory");
	return value;
}

static inline void store(uint64_t address, uint64_t value)
{
	__asm__ volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(address), "l"(value)
			 : "memory");
}

/**
 * @param words Addresses, by the page, of the word that number i is written to, i % @p pages.
 * @param seen Address of a word: the last number that was seen.
 * @param copy Address of @p pages words: what is 8 bytes behind each of @p words.
 */
__attribute__((nvptx_kernel)) void iomem_poll(const uint64_t *words, uint64_t pages, uint64_t count,
					      uint64_t patience_ns, uint64_t seen, uint64_t copy)
{
	for (uint64_t i = 0; i < pages; i++)
		store(copy + i * sizeof(uint64_t), load(words[i] + sizeof(uint64_t)));
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t deadline = gs_clock() + patience_ns;

		while (load(words[i % pages]) != i) {
			if (gs_clock() > deadline)
				return;
		}
		store(seen, i);
	}
}
