// SPDX-License-Identifier: Apache-2.0
// Begin, budget and end of a run.
#include "rt.h"

__attribute__((noinline)) void gs_rt_begin_run(struct gs_ctx *ctx)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);

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
	for (uint32_t i = 0; i < GS_TLB_ENTRIES; i++)
		block->tlb[i].tag = 0;
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
