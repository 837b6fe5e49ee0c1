/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How detectors that are there to be timed read pages: a warp a page. Its lanes take neighbouring
 * words, and all that one lane takes, at constant distances, is under way at once.
 */
#ifndef BENCH_PAGES_H
#define BENCH_PAGES_H

#include <gpusentinel/detector.h>

#define PAGE_SIZE 4096UL
#define PAGE_WORDS (PAGE_SIZE / 8)
#define LANES 32U
/** Words of a page for one lane. */
#define LANE_WORDS (PAGE_WORDS / LANES)

/** Threads that share a page: those of a warp, or the only one. */
static inline u32 page_width(void)
{
	return thread_count() < LANES ? thread_count() : LANES;
}

/** The pages of this thread, from 0 to @p n - 1. */
#define for_each_page(i, n)                                                     \
	for (u64 i = thread_index() / page_width(), __n_##i = (n); i < __n_##i; \
	     i += thread_count() / page_width())

/** The lanes that this thread stands for. */
#define for_each_lane(lane) \
	for (u32 lane = thread_index() % page_width(); lane < LANES; lane += page_width())

/** What the threads of a run add up to. Static; runs take turns. */
struct total {
	u64 sum[2];
};

/** Add @p value of this thread to @p total; every thread of a block. */
#define total_add(total, value)                                                  \
	do {                                                                     \
		u64 __sum = block_sum(value);                                    \
                                                                                 \
		if (block_thread_index() == 0)                                   \
			__atomic_fetch_add(&(total).sum[run_count() & 1], __sum, \
					   __ATOMIC_SEQ_CST);                    \
	} while (0)

/** What it has come to; where last_thread() was true. */
#define total_take(total) __atomic_exchange_n(&(total).sum[run_count() & 1], 0, __ATOMIC_SEQ_CST)

/** Behind all total_add(): true in one thread of a run, when all blocks have come here. */
static inline bool last_thread(void)
{
	static u32 arrived[2];
	u32 now = run_count() & 1;

	if (block_thread_index() != 0)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_fetch_add(&arrived[now], 1, __ATOMIC_SEQ_CST) != block_count() - 1)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&arrived[now], 0, __ATOMIC_SEQ_CST);
	return true;
}

#endif
