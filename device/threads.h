/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The threads of the supervisor's block. On a CPU there is one.
 */
#ifndef GS_DEVICE_THREADS_H
#define GS_DEVICE_THREADS_H

#include <stdint.h>

#include <gpusentinel/control.h>

#ifdef __NVPTX__
#define GS_THREADS GS_SUPERVISOR_THREADS

static inline uint32_t gs_my_thread(void)
{
	return (uint32_t)__nvvm_read_ptx_sreg_tid_x();
}

/** All threads of the block have come here. */
static inline void gs_wait_for_all(void)
{
	__syncthreads();
}
#else
#define GS_THREADS 1

static inline uint32_t gs_my_thread(void)
{
	return 0;
}

static inline void gs_wait_for_all(void)
{
}
#endif

#endif
