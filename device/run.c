// SPDX-License-Identifier: Apache-2.0
// Begin, budget and end of a run.
#include "rt.h"
#include "sync.h"

bool gs_rt_in_chunks(const struct gs_ctx *ctx)
{
	return ctx->chunked;
}

__attribute__((noinline)) void gs_rt_begin_run(struct gs_ctx *ctx)
{
	ctx->out_used = 0;
	ctx->out_lost = 0;
	ctx->faults = 0;
	ctx->fault_address = 0;
	ctx->walks = 0;
	ctx->stop = GS_STOP_NONE;
	ctx->stop_site = 0;
	ctx->segment_hint = 0;
	ctx->record = 0;
	ctx->record_faults = 0;
	ctx->first_chunk = 0;
	ctx->chunk = 0;
	ctx->chunks = 0;
	// Until the first record asks for a chunk.
	if (gs_rt_in_chunks(ctx))
		ctx->out_size = 0;
	// All have ended the run before.
	gs_rt_block_meet(ctx);
	gs_rt_block_load(ctx);
	if (ctx->thread_index % ctx->threads == 0)
		gs_rt_block_reset(ctx);
	gs_rt_block_meet(ctx);
}

__attribute__((noinline, cold)) void gs_rt_stop(struct gs_ctx *ctx, uint32_t reason, uint32_t site)
{
	if (ctx->stop != GS_STOP_NONE)
		return;
	ctx->stop = reason;
	ctx->stop_site = site;
}

inline __attribute__((always_inline)) bool gs_rt_edge(struct gs_ctx *ctx, uint32_t site)
{
	if (__builtin_expect(!ctx->budget, 0)) {
		gs_rt_stop(ctx, GS_STOP_BUDGET, site);
		return false;
	}
	ctx->budget--;
	return true;
}

uint64_t gs_rt_now(struct gs_ctx *ctx)
{
	return ctx->now_ns;
}

uint64_t gs_rt_run(struct gs_ctx *ctx)
{
	return ctx->run;
}

__attribute__((noinline)) void gs_rt_copy_context(struct gs_ctx *ctx, struct gs_ctx *shared)
{
	enum { WORDS = __builtin_offsetof(struct gs_ctx, shared) / 8 };

	typedef uint64_t __attribute__((may_alias)) word;
#ifdef __NVPTX__
	uint64_t block = 0;
	uint32_t threads = __nvvm_read_ptx_sreg_ntid_x(), blocks = __nvvm_read_ptx_sreg_nctaid_x();
	uint32_t index = __nvvm_read_ptx_sreg_ctaid_x() * threads + __nvvm_read_ptx_sreg_tid_x();
#else
	uint64_t block = ctx->block;
	uint32_t threads = shared->threads, blocks = shared->blocks, index = ctx->thread_index;
#endif

	// Not from a cache: another processor of the GPU wrote it. Others may already be adding their results.
	for (uint32_t i = 0; i < WORDS; i++)
		((word *)ctx)[i] = gs_atomic_load((const word *)shared + i);
	ctx->shared = (uint64_t)shared;
	ctx->block = block;
	ctx->thread_index = index;
	ctx->threads = threads;
	ctx->blocks = blocks;
	ctx->chunked = threads * blocks > 1;
}

__attribute__((noinline)) void gs_rt_enter(struct gs_ctx *ctx, struct gs_ctx *shared)
{
	gs_rt_copy_context(ctx, shared);
	gs_rt_begin_run(ctx);
}

// What a thread found joins what the others did.
static void merge(const struct gs_ctx *ctx, struct gs_ctx *shared)
{
	uint32_t running = GS_STOP_NONE;

	if (ctx->out_lost)
		gs_atomic_add(&shared->out_lost, ctx->out_lost);
	if (ctx->walks)
		gs_atomic_add(&shared->walks, ctx->walks);
	if (ctx->faults && !gs_atomic_add(&shared->faults, ctx->faults))
		gs_atomic_store(&shared->fault_address, ctx->fault_address);
	if (ctx->stop != GS_STOP_NONE &&
	    __atomic_compare_exchange_n(&shared->stop, &running, ctx->stop, false, GS_ORDER,
					GS_ORDER_LOAD))
		gs_atomic_store(&shared->stop_site, ctx->stop_site);
}

__attribute__((noinline)) void gs_rt_leave(struct gs_ctx *ctx)
{
	struct gs_ctx *shared = (struct gs_ctx *)ctx->shared;

	gs_rt_end_run(ctx);
	if (gs_rt_in_chunks(ctx)) {
		merge(ctx, shared);
		return;
	}
	shared->out_used = ctx->out_used;
	shared->out_lost = ctx->out_lost;
	shared->budget = ctx->budget;
	shared->faults = ctx->faults;
	shared->fault_address = ctx->fault_address;
	shared->walks = ctx->walks;
	shared->stop = ctx->stop;
	shared->stop_site = ctx->stop_site;
}
