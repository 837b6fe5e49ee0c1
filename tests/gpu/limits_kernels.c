// SPDX-License-Identifier: Apache-2.0
// Kernels that do nothing but read: what limits.c measures. For a GPU and, as plain functions, for the CPU.
#include "limits_kernels.h"

#include "clock.h"

#ifdef __NVPTX__
#define KERNEL __attribute__((nvptx_kernel))
#define UNROLL _Pragma("unroll")

#define LOAD(name, instruction)                                                          \
	static inline uint64_t load_##name(uint64_t address)                             \
	{                                                                                \
		uint64_t value;                                                          \
                                                                                         \
		__asm__ volatile(instruction " %0, [%1];" : "=l"(value) : "l"(address)); \
		return value;                                                            \
	}
#define LOAD_PAIR(name, instruction)                            \
	static inline uint64_t pair_##name(uint64_t address)    \
	{                                                       \
		uint64_t low, high;                             \
                                                                \
		__asm__ volatile(instruction " {%0, %1}, [%2];" \
				 : "=l"(low), "=l"(high)        \
				 : "l"(address));               \
		return low ^ high;                              \
	}

static inline uint32_t block_threads(void)
{
	return __nvvm_read_ptx_sreg_ntid_x();
}

static inline uint64_t thread(void)
{
	return (uint64_t)__nvvm_read_ptx_sreg_ctaid_x() * block_threads() +
	       __nvvm_read_ptx_sreg_tid_x();
}

static inline uint64_t threads(void)
{
	return (uint64_t)__nvvm_read_ptx_sreg_nctaid_x() * block_threads();
}

static inline void prefetch(uint64_t address)
{
	__asm__ volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

static inline void wait_us(uint32_t us)
{
	uint64_t end = gs_clock() + us * UINT64_C(1000);

	while (gs_clock() < end)
		;
}
#else
#define KERNEL
#define UNROLL

#define LOAD(name, instruction)                              \
	static inline uint64_t load_##name(uint64_t address) \
	{                                                    \
		return *(const volatile uint64_t *)address;  \
	}
#define LOAD_PAIR(name, instruction)                                                    \
	static inline uint64_t pair_##name(uint64_t address)                            \
	{                                                                               \
		return ((const uint64_t *)address)[0] ^ ((const uint64_t *)address)[1]; \
	}

static inline uint64_t thread(void)
{
	return 0;
}

static inline uint64_t threads(void)
{
	return 1;
}

static inline void prefetch(uint64_t address)
{
	__builtin_prefetch((const void *)address);
}

static inline void wait_us(uint32_t us)
{
	(void)us;
}
#endif

LOAD(relaxed_sys, "ld.relaxed.sys.global.u64")
LOAD(relaxed_gpu, "ld.relaxed.gpu.global.u64")
LOAD(volatile, "ld.volatile.global.u64")
LOAD(cv, "ld.global.cv.u64")
LOAD(ca, "ld.global.ca.u64")
LOAD(cg, "ld.global.cg.u64")
LOAD_PAIR(relaxed_sys, "ld.relaxed.sys.global.v2.u64")
LOAD_PAIR(weak, "ld.global.v2.u64")

// Chains of pointers, followed side by side by one thread: with one chain a step takes a latency, with several it
// takes as long only if their loads overlap.
#define CHASE(name, chains)                                                                \
	KERNEL void limits_chase_##name##_##chains(const uint64_t *starts, uint64_t steps, \
						   uint64_t *ret)                          \
	{                                                                                  \
		uint64_t p[chains], sum = 0;                                               \
                                                                                           \
		for (int k = 0; k < chains; k++)                                           \
			p[k] = starts[k];                                                  \
                                                                                           \
		uint64_t begin = gs_clock();                                               \
                                                                                           \
		for (uint64_t i = 0; i < steps; i++) {                                     \
			UNROLL for (int k = 0; k < chains; k++) p[k] = load_##name(p[k]);  \
		}                                                                          \
		for (int k = 0; k < chains; k++)                                           \
			sum += p[k];                                                       \
		ret[1] = sum;                                                              \
		ret[0] = gs_clock() - begin;                                               \
	}
LIMITS_CHASES(CHASE)

// @table: where the chain goes, so that all of it can be asked for in advance.
#define PREFETCHED(name)                                                                         \
	KERNEL void limits_prefetch_##name(const uint64_t *table, uint64_t count, uint64_t *ret) \
	{                                                                                        \
		uint64_t p = table[0];                                                           \
                                                                                                 \
		for (uint64_t i = 0; i < count; i++)                                             \
			prefetch(table[i]);                                                      \
		wait_us(200);                                                                    \
                                                                                                 \
		uint64_t begin = gs_clock();                                                     \
                                                                                                 \
		for (uint64_t i = 0; i < count; i++)                                             \
			p = load_##name(p);                                                      \
		ret[1] = p;                                                                      \
		ret[0] = gs_clock() - begin;                                                     \
	}
LIMITS_LOADS(PREFETCHED)

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ (x >> 32);
}

// LIMITS_IN_FLIGHT loads of one sector each before the first value is used; every @group of them are neighbours.
#define RANDOM(group)                                                                            \
	KERNEL void limits_random_##group(uint64_t base, uint64_t sector_mask, uint64_t rounds,  \
					  uint64_t seed, uint64_t *ret)                          \
	{                                                                                        \
		uint64_t sum = 0, counter = (seed << 40) + thread() * rounds * LIMITS_IN_FLIGHT; \
                                                                                                 \
		for (uint64_t i = 0; i < rounds; i++) {                                          \
			uint64_t v[LIMITS_IN_FLIGHT];                                            \
                                                                                                 \
			UNROLL for (int k = 0; k < LIMITS_IN_FLIGHT; k++)                        \
			{                                                                        \
				uint64_t sector = mix(counter + k / group) & sector_mask;        \
                                                                                                 \
				sector = (sector & ~(uint64_t)(group - 1)) + k % group;          \
				v[k] = load_relaxed_sys(base + sector * LIMITS_SECTOR);          \
			}                                                                        \
			UNROLL for (int k = 0; k < LIMITS_IN_FLIGHT; k++) sum += v[k];           \
			counter += LIMITS_IN_FLIGHT;                                             \
		}                                                                                \
		if (sum == 1)                                                                    \
			*ret = sum;                                                              \
	}
LIMITS_RANDOMS(RANDOM)

#define STREAM(name, load, width)                                                             \
	KERNEL void limits_stream_##name(uint64_t base, uint64_t size, uint64_t *ret)         \
	{                                                                                     \
		uint64_t step = threads() * width, sum = 0;                                   \
                                                                                              \
		for (uint64_t at = thread() * width; at + 7 * step + width <= size;           \
		     at += 8 * step) {                                                        \
			uint64_t v[8];                                                        \
                                                                                              \
			UNROLL for (int k = 0; k < 8; k++) v[k] = load(base + at + k * step); \
			UNROLL for (int k = 0; k < 8; k++) sum += v[k];                       \
		}                                                                             \
		if (sum == 1)                                                                 \
			*ret = sum;                                                           \
	}
STREAM(16, pair_relaxed_sys, 16)
STREAM(16_weak, pair_weak, 16)
STREAM(8, load_relaxed_sys, 8)
