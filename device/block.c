// SPDX-License-Identifier: Apache-2.0
// Threads: where each of them stands, and what those of a block do together.
#include "rt.h"

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

void gs_rt_block_barrier(struct gs_ctx *ctx)
{
	(void)ctx;
}

uint64_t gs_rt_block_sum(struct gs_ctx *ctx, uint64_t value)
{
	(void)ctx;
	return value;
}

uint64_t gs_rt_block_min(struct gs_ctx *ctx, uint64_t value)
{
	(void)ctx;
	return value;
}

uint64_t gs_rt_block_max(struct gs_ctx *ctx, uint64_t value)
{
	(void)ctx;
	return value;
}

uint32_t gs_rt_block_any(struct gs_ctx *ctx, uint32_t value)
{
	(void)ctx;
	return value;
}
