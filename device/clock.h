/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The GPU's clock and how a thread sleeps on it.
 */
#ifndef GS_DEVICE_CLOCK_H
#define GS_DEVICE_CLOCK_H

#include <stdint.h>

#ifdef __NVPTX__
/** Nanoseconds; all of the GPU's processors see one clock (PTX ISA 8.5, 10.21: %globaltimer). */
static inline uint64_t gs_clock(void)
{
	uint64_t now;

	__asm__ volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
	return now;
}

/** Sleep about @p ns nanoseconds: from nothing to twice as long, 1 ms at most (PTX ISA 8.5, 9.7.19.2: nanosleep). */
static inline void gs_sleep(uint64_t ns)
{
	enum { MAX_NS = 500000 };

	__asm__ volatile("nanosleep.u32 %0;" ::"r"((uint32_t)(ns < MAX_NS ? ns : MAX_NS))
			 : "memory");
}
#else
#include <time.h>

// For tests of the code that runs by itself.
static inline uint64_t gs_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void gs_sleep(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns < 500000 ? (long)ns : 500000 }, 0);
}
#endif

#endif
