// SPDX-License-Identifier: Apache-2.0
// Where several threads write records: each takes a piece of the buffer at a time.
#include "rt.h"
#include "sync.h"

enum { HEADER = sizeof(struct gs_chunk), SMALLEST = 256, SHARE = 4 };

typedef uint64_t __attribute__((may_alias)) chunk_word;

// So that some chunks are there for every thread, however small the buffer.
static uint32_t usual_size(const struct gs_ctx *ctx, uint32_t buffer)
{
	uint32_t size = buffer / (ctx->threads * ctx->blocks) / SHARE & ~7u;

	if (size < SMALLEST)
		return SMALLEST;
	return size < GS_CHUNK_SIZE ? size : GS_CHUNK_SIZE;
}

// Hand out @want bytes, or the rest of the buffer if it has @need. @return its offset; UINT32_MAX: no room.
static uint32_t hand_out(struct gs_ctx *shared, uint32_t need, uint32_t want, uint32_t *size_ret)
{
	uint32_t buffer = shared->out_size & ~7u, used = gs_atomic_load(&shared->out_used);

	for (;;) {
		uint32_t left = used < buffer ? buffer - used : 0;
		uint32_t size = want < left ? want : left;

		if (size < need)
			return UINT32_MAX;
		if (__atomic_compare_exchange_n(&shared->out_used, &used, used + size, false,
						GS_ORDER, GS_ORDER_LOAD)) {
			*size_ret = size;
			return used;
		}
	}
}

__attribute__((noinline, cold)) bool gs_rt_grow(struct gs_ctx *ctx, uint32_t bytes)
{
	struct gs_ctx *shared = (struct gs_ctx *)ctx->shared;

	if (!gs_rt_in_chunks(ctx))
		return false;

	// What there is of the record under construction moves along.
	uint32_t begun = ctx->record ? ctx->record - ctx->out_used : 0;
	uint32_t need = HEADER + begun + bytes, size;

	if (begun > GS_RECORD_MAX_SIZE || bytes > GS_RECORD_MAX_SIZE - begun)
		return false;

	uint32_t usual = usual_size(ctx, shared->out_size);
	uint32_t offset = hand_out(shared, need, need > usual ? need : usual, &size);

	if (offset == UINT32_MAX)
		return false;

	struct gs_chunk *chunk = (struct gs_chunk *)(shared->out + offset);
	const chunk_word *from = (const chunk_word *)(ctx->out + ctx->out_used);

	*chunk = (struct gs_chunk){ .size = size };
	if (ctx->chunk)
		((struct gs_chunk *)ctx->chunk)->next = offset;
	else
		ctx->first_chunk = (uint64_t)chunk;
	ctx->chunk = (uint64_t)chunk;
	ctx->chunks++;
	for (uint32_t i = 0; i < begun / 8; i++)
		((chunk_word *)(chunk + 1))[i] = from[i];
	ctx->out = (uint64_t)(chunk + 1);
	ctx->out_size = size - HEADER;
	ctx->out_used = 0;
	ctx->record = begun;
	return true;
}
