/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Words that another device reads and writes: its accesses, their order, and seals.
 *
 * Volatile accesses are relaxed ones of system scope (PTX ISA 8.5, 8.4), so that what another device reads or
 * writes by DMA is never half a word.
 */
#ifndef GS_DEVICE_WORDS_H
#define GS_DEVICE_WORDS_H

#include <stdint.h>

#include <gpusentinel/crc32c.h>

typedef uint64_t __attribute__((may_alias)) gs_word;

#define gs_words_of(type) (sizeof(type) / 8)

/** Neither what comes before nor what comes after passes this. */
static inline void gs_order(void)
{
#ifdef __NVPTX__
	// LLVM 19 has no pattern for fences in PTX.
	__nvvm_membar_sys();
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline void gs_put(gs_word *to, uint64_t value)
{
	*(volatile gs_word *)to = value;
}

static inline uint64_t gs_get(const gs_word *from)
{
	return *(const volatile gs_word *)from;
}

/** CRC of @p count words from @p start on; the upper half of word @p at counts as 0. */
static inline uint32_t gs_crc_sealed(const struct gs_crc32c *crc32c, uint32_t start,
				     const gs_word *words, uint32_t count, uint32_t at)
{
	uint32_t crc = start;

	for (uint32_t i = 0; i < count; i++)
		crc = gs_crc32c_word(crc32c, crc, i == at ? (uint32_t)words[i] : words[i]);
	return gs_crc32c_finish(crc);
}

#endif
