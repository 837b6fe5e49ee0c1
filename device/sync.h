/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How threads see each other's memory: the same words on a GPU and on x86-64.
 *
 * LLVM 19 gives PTX neither fences nor ordered atomics. On a GPU atomics are relaxed, and what they order stands
 * between explicit fences (PTX ISA 8.5, 8.7); on x86-64 the atomics themselves are ordered and the fences empty.
 */
#ifndef GS_DEVICE_SYNC_H
#define GS_DEVICE_SYNC_H

#include <stdint.h>

#ifdef __NVPTX__
#define GS_ORDER __ATOMIC_RELAXED
#define GS_ORDER_LOAD __ATOMIC_RELAXED
#define GS_ORDER_STORE __ATOMIC_RELAXED

/** Between threads of a block. */
static inline void gs_fence_block(void)
{
	__nvvm_membar_cta();
}

/** Between the blocks of a kernel. */
static inline void gs_fence_device(void)
{
	__nvvm_membar_gl();
}

/** A short wait, in which others run. */
static inline void gs_pause(uint32_t ns)
{
	__asm__ volatile("nanosleep.u32 %0;" ::"r"(ns) : "memory");
}
#else
#define GS_ORDER __ATOMIC_SEQ_CST
#define GS_ORDER_LOAD __ATOMIC_ACQUIRE
#define GS_ORDER_STORE __ATOMIC_RELEASE

#if __STDC_HOSTED__
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static inline void gs_fence_block(void)
{
}

static inline void gs_fence_device(void)
{
}

static inline void gs_pause(uint32_t ns)
{
	(void)ns;
#if __STDC_HOSTED__
	// Tests have more threads than the machine has processors.
	sched_yield();
#else
	__builtin_ia32_pause();
#endif
}
#endif

#ifndef __NVPTX__
// Tests have many more threads than the machine has processors, and most of them wait for the others: not by turns.
static inline void gs_wait_while(const uint64_t *counter, uint64_t value)
{
#if __STDC_HOSTED__
	syscall(SYS_futex, counter, FUTEX_WAIT_PRIVATE, (uint32_t)value, 0, 0, 0);
#else
	(void)counter;
	(void)value;
	gs_pause(0);
#endif
}

static inline void gs_wake_all(const uint64_t *counter)
{
#if __STDC_HOSTED__
	syscall(SYS_futex, counter, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
#else
	(void)counter;
#endif
}
#endif

#define gs_atomic_add(p, value) __atomic_fetch_add((p), (value), GS_ORDER)
#define gs_atomic_or(p, value) __atomic_fetch_or((p), (value), GS_ORDER)
#define gs_atomic_load(p) __atomic_load_n((p), GS_ORDER_LOAD)
#define gs_atomic_store(p, value) __atomic_store_n((p), (value), GS_ORDER_STORE)

#endif
