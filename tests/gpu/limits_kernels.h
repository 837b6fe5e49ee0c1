/* SPDX-License-Identifier: Apache-2.0 */
// What limits.c and its kernels agree on.
#ifndef TESTS_GPU_LIMITS_KERNELS_H
#define TESTS_GPU_LIMITS_KERNELS_H

#include <stdint.h>

// Bytes that a GPU fetches from memory at once, and a thread's loads in flight in the kernels of random reads.
#define LIMITS_SECTOR 32
#define LIMITS_IN_FLIGHT 8

// X(name of the load)
#define LIMITS_LOADS(X) X(relaxed_sys) X(relaxed_gpu) X(volatile) X(cv) X(ca) X(cg)

// X(name of the load, chains)
#define LIMITS_CHASES(X)   \
	X(relaxed_sys, 1)  \
	X(relaxed_sys, 2)  \
	X(relaxed_sys, 4)  \
	X(relaxed_sys, 8)  \
	X(relaxed_sys, 16) \
	X(relaxed_gpu, 1)  \
	X(relaxed_gpu, 8) X(volatile, 1) X(volatile, 8) X(cv, 1) X(ca, 1) X(ca, 8) X(cg, 1) X(cg, 8)

// X(neighbouring sectors)
#define LIMITS_RANDOMS(X) X(1) X(2) X(4)

#define LIMITS_CHASE_DECLARE(name, chains) \
	void limits_chase_##name##_##chains(const uint64_t *starts, uint64_t steps, uint64_t *ret);
#define LIMITS_PREFETCH_DECLARE(name) \
	void limits_prefetch_##name(const uint64_t *table, uint64_t count, uint64_t *ret);
#define LIMITS_RANDOM_DECLARE(group)                                                     \
	void limits_random_##group(uint64_t base, uint64_t sector_mask, uint64_t rounds, \
				   uint64_t seed, uint64_t *ret);
#ifndef __NVPTX__
LIMITS_CHASES(LIMITS_CHASE_DECLARE)
LIMITS_LOADS(LIMITS_PREFETCH_DECLARE)
LIMITS_RANDOMS(LIMITS_RANDOM_DECLARE)
void limits_stream_16(uint64_t base, uint64_t size, uint64_t *ret);
void limits_stream_16_weak(uint64_t base, uint64_t size, uint64_t *ret);
void limits_stream_8(uint64_t base, uint64_t size, uint64_t *ret);
#endif

#endif
