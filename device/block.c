// SPDX-License-Identifier: Apache-2.0
// Threads: where each of them stands, and what those of a block do together.
//
// A collective is made of counters, not of the hardware's barrier: a thread may end its run at any time, in any
// place, and is then counted out for good, by itself, so that none ever waits for it. Nothing here asks for
// the threads of a warp to run in step.
#include "rt.h"
#include "sync.h"

#ifdef __NVPTX__
// Without an initial value, which shared memory cannot have.
__attribute__((address_space(3), loader_uninitialized)) struct gs_block gs_rt_shared_block;

inline __attribute__((always_inline)) struct gs_block GS_SHARED *gs_rt_block(struct gs_ctx *ctx)
{
	(void)ctx;
	return &gs_rt_shared_block;
}
#else
inline __attribute__((always_inline)) struct gs_block *gs_rt_block(struct gs_ctx *ctx)
{
	return (struct gs_block *)ctx->block;
}
#endif

enum operation { BARRIER, SUM, MIN, MAX };

uint32_t gs_rt_thread_index(struct gs_ctx *ctx)
{
	return ctx->thread_index;
}

uint32_t gs_rt_thread_count(struct gs_ctx *ctx)
{
	return ctx->threads * ctx->blocks;
}

uint32_t gs_rt_block_index(struct gs_ctx *ctx)
{
	return ctx->thread_index / ctx->threads;
}

uint32_t gs_rt_block_count(struct gs_ctx *ctx)
{
	return ctx->blocks;
}

uint32_t gs_rt_block_thread_index(struct gs_ctx *ctx)
{
	return ctx->thread_index % ctx->threads;
}

uint32_t gs_rt_block_thread_count(struct gs_ctx *ctx)
{
	return ctx->threads;
}

void gs_rt_block_reset(struct gs_ctx *ctx)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);

	for (uint32_t i = 0; i <= GS_BLOCK_GROUP; i++) {
		block->groups[i].left = 0;
		gs_atomic_store(&block->groups[i].tally, 0);
	}
	gs_atomic_store(&block->ended, 0);
}

GS_CONVERGENT void gs_rt_block_meet(struct gs_ctx *ctx)
{
	if (ctx->threads <= 1)
		return;
#ifdef __NVPTX__
	// Threads that are still apart arrive one by one (PTX ISA 8.5, 9.7.12.1: barrier without .aligned).
	__nvvm_barrier_sync(0);
#else
	struct gs_block *block = gs_rt_block(ctx);
	uint64_t met = gs_atomic_add(&block->met, 1) + 1, round = (met - 1) / ctx->threads;

	if (met % ctx->threads == 0)
		gs_wake_all(&block->met);
	while ((met = gs_atomic_load(&block->met)) / ctx->threads == round)
		gs_wait_while(&block->met, met);
#endif
}

static uint64_t neutral(uint32_t operation)
{
	return operation == MIN ? UINT64_MAX : 0;
}

static uint64_t combine(uint32_t operation, uint64_t a, uint64_t b)
{
	if (operation == SUM)
		return a + b;
	if (operation == MIN)
		return a < b ? a : b;
	return a > b ? a : b;
}

// What those that have not left brought, from values[first] on.
static uint64_t reduce(struct gs_block GS_SHARED *block, const struct gs_group GS_SHARED *group,
		       uint32_t first, uint32_t members)
{
	uint32_t operation = gs_atomic_load(&block->operation), left = gs_atomic_load(&group->left);
	uint64_t result = neutral(operation);

	for (uint32_t i = 0; operation != BARRIER && i < members; i++) {
		if (!(left >> i & 1))
			result = combine(operation, result, block->values[first + i]);
	}
	return result;
}

static uint32_t group_size(uint32_t count, uint32_t first)
{
	return count - first < GS_BLOCK_GROUP ? count - first : GS_BLOCK_GROUP;
}

// A thread arrives, or leaves for good. Who completes its warp does the same for the warp, and who completes
// the block ends the collective.
static void arrive(struct gs_ctx *ctx, struct gs_block GS_SHARED *block, uint32_t thread,
		   bool leaves)
{
	struct gs_group GS_SHARED *group = &block->groups[thread / GS_BLOCK_GROUP];
	uint32_t member = thread % GS_BLOCK_GROUP, first = thread - member;
	uint32_t members = group_size(ctx->threads, first);

	for (bool warp = true;; warp = false) {
		uint32_t step = leaves ? 1u << 16 : 1;

		if (leaves)
			gs_atomic_or(&group->left, 1u << member);
		gs_fence_block();

		uint32_t tally = gs_atomic_add(&group->tally, step) + step;

		if ((tally & 0xffff) + (tally >> 16) != members)
			return;
		gs_fence_block();
		// All others wait, or are gone.
		leaves = !(tally & 0xffff);

		uint64_t value = leaves ? 0 : reduce(block, group, first, members);

		if (!leaves)
			gs_atomic_store(&group->tally, tally & ~0xffffu);
		if (!warp) {
			if (leaves)
				return;
			block->result = value;
			gs_fence_block();
			gs_atomic_store(&block->ended, gs_atomic_load(&block->ended) + 1);
			return;
		}
		group = &block->groups[GS_BLOCK_GROUP];
		member = thread / GS_BLOCK_GROUP;
		first = GS_BLOCK_THREADS;
		members = (ctx->threads + GS_BLOCK_GROUP - 1) / GS_BLOCK_GROUP;
		if (!leaves)
			block->values[first + member] = value;
	}
}

// Never inlined: one copy, which the compiler cannot take apart.
static GS_CONVERGENT uint64_t collect(struct gs_ctx *ctx, uint32_t operation, uint64_t value)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t thread = ctx->thread_index % ctx->threads;

	if (ctx->threads <= 1)
		return value;
	// The detector's static variables are written before, and read again behind.
	__asm__ volatile("" ::: "memory");
	gs_fence_block();

	uint32_t ended = gs_atomic_load(&block->ended);

	block->values[thread] = value;
	// All write the same, unless the detector is wrong.
	gs_atomic_store(&block->operation, operation);
	arrive(ctx, block, thread, false);
	while (gs_atomic_load(&block->ended) == ended)
		gs_pause(32);
	gs_fence_block();
	value = block->result;
	__asm__ volatile("" ::: "memory");
	return value;
}

__attribute__((noinline)) void gs_rt_end_run(struct gs_ctx *ctx)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t thread = ctx->thread_index % ctx->threads;
	struct gs_group GS_SHARED *group = &block->groups[thread / GS_BLOCK_GROUP];

	// A second time, this would count out somebody else.
	if (ctx->threads > 1 && !(gs_atomic_load(&group->left) >> thread % GS_BLOCK_GROUP & 1))
		arrive(ctx, block, thread, true);
}

void gs_rt_block_barrier(struct gs_ctx *ctx)
{
	collect(ctx, BARRIER, 0);
}

uint64_t gs_rt_block_sum(struct gs_ctx *ctx, uint64_t value)
{
	return collect(ctx, SUM, value);
}

uint64_t gs_rt_block_min(struct gs_ctx *ctx, uint64_t value)
{
	return collect(ctx, MIN, value);
}

uint64_t gs_rt_block_max(struct gs_ctx *ctx, uint64_t value)
{
	return collect(ctx, MAX, value);
}

uint32_t gs_rt_block_any(struct gs_ctx *ctx, uint32_t value)
{
	return collect(ctx, MAX, value != 0) != 0;
}
