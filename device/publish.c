// SPDX-License-Identifier: Apache-2.0
// Records of many threads into the mailbox. Each thread writes its own, to where those of the threads
// before it end: positions and sequences are sums over the threads, and a ring's head moves once.
#include "mailbox.h"
#include "rt.h"
#include "sync.h"

enum { RINGS = GS_MAILBOX_RINGS };

// Slots, and 2^32 times records: a record buffer holds far fewer of either.
static uint64_t packed(uint64_t slots, uint64_t records)
{
	return records << 32 | slots;
}

static uint64_t slots_of(uint64_t packed)
{
	return packed & UINT32_MAX;
}

static uint64_t records_of(uint64_t packed)
{
	return packed >> 32;
}

// The sum of what the threads of this block before this one bring, and of all.
static __attribute__((noinline)) uint64_t scan(struct gs_ctx *ctx, uint64_t value,
					       uint64_t *total_ret)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t thread = ctx->thread_index % ctx->threads, warp = thread / GS_BLOCK_GROUP;
	uint64_t before = 0, total = 0;

	block->values[thread] = value;
	gs_rt_block_meet(ctx);
	if (thread % GS_BLOCK_GROUP == 0) {
		uint64_t sum = 0;

		for (uint32_t i = thread; i < thread + GS_BLOCK_GROUP && i < ctx->threads; i++) {
			uint64_t one = block->values[i];

			block->values[i] = sum;
			sum += one;
		}
		block->values[GS_BLOCK_THREADS + warp] = sum;
	}
	gs_rt_block_meet(ctx);
	for (uint32_t i = 0; i * GS_BLOCK_GROUP < ctx->threads; i++) {
		uint64_t sum = block->values[GS_BLOCK_THREADS + i];

		total += sum;
		before += i < warp ? sum : 0;
	}
	before += block->values[thread];
	// The values are read before others come in their place.
	gs_rt_block_meet(ctx);
	*total_ret = total;
	return before;
}

// The same over all blocks, from what their first threads wrote into the control.
static void add_blocks(struct gs_ctx *ctx, const struct gs_control *control, uint64_t before[RINGS],
		       uint64_t total[RINGS])
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t mine = ctx->thread_index / ctx->threads;

	if (ctx->thread_index % ctx->threads == 0) {
		for (uint32_t ring = 0; ring < RINGS; ring++) {
			uint64_t earlier = 0, all = 0;

			for (uint32_t i = 0; i < ctx->blocks; i++) {
				uint64_t one = gs_atomic_load(&control->totals[ring][i]);

				earlier += i < mine ? one : 0;
				all += one;
			}
			block->shared[ring] = earlier;
			block->shared[RINGS + ring] = all;
		}
	}
	gs_rt_block_meet(ctx);
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		before[ring] += block->shared[ring];
		total[ring] = block->shared[RINGS + ring];
	}
}

// What is beyond half a ring is lost, from the record on that goes beyond: its thread says where that is.
static void cut(const struct gs_mailbox_writer *writer, const struct gs_mailbox_cursor *from,
		struct gs_control *control, const uint64_t before[RINGS],
		const uint64_t total[RINGS])
{
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		uint64_t half = writer->rings[ring].slots / 2, mine = slots_of(before[ring]);
		struct gs_mailbox_share share = {};

		if (slots_of(total[ring]) > half && mine <= half &&
		    !gs_mailbox_fit(writer, from, ring, half - mine, &share))
			gs_atomic_store(&control->taken[ring],
					before[ring] +
						packed(share.slots[ring], share.records[ring]));
	}
}

GS_CONVERGENT void gs_rt_publish(struct gs_ctx *ctx, struct gs_control *control)
{
	const struct gs_mailbox_writer *writer = &control->writer;
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	struct gs_ctx *shared = (struct gs_ctx *)ctx->shared;
	struct gs_mailbox_cursor from = gs_mailbox_first(ctx);
	struct gs_mailbox_share share = {};
	struct gs_mailbox_place places[RINGS];
	uint64_t lost = gs_mailbox_count(writer, &from, &share);
	uint64_t before[RINGS], total[RINGS];
	bool any = false, over = false;

	if (lost)
		gs_atomic_add(&shared->out_lost, lost);
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		before[ring] =
			scan(ctx, packed(share.slots[ring], share.records[ring]), &total[ring]);
		if (ctx->thread_index % ctx->threads == 0)
			gs_atomic_store(&control->totals[ring][ctx->thread_index / ctx->threads],
					total[ring]);
	}
	gs_rt_meet(ctx, control);
	add_blocks(ctx, control, before, total);
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		any |= total[ring] != 0;
		over |= slots_of(total[ring]) > writer->rings[ring].slots / 2;
	}
	// All threads know the same, and take the same way.
	if (!any)
		return;
	if (over && control->solo) {
		// More than the ring takes at a time: by one thread, which goes by half a ring.
		if (!ctx->thread_index) {
			ctx->chunks = UINT64_MAX;
			gs_mailbox_publish(writer, ctx);
		}
		return;
	}
	if (over) {
		cut(writer, &from, control, before, total);
		gs_rt_meet(ctx, control);
	}
	if (!ctx->thread_index) {
		for (uint32_t ring = 0; ring < RINGS; ring++) {
			if (slots_of(total[ring]) <= writer->rings[ring].slots / 2)
				gs_atomic_store(&control->taken[ring], total[ring]);
			gs_atomic_store(&control->position[ring],
					gs_mailbox_reserve(
						writer, ring,
						slots_of(gs_atomic_load(&control->taken[ring]))));
		}
	}
	gs_rt_meet(ctx, control);
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		uint64_t slots = slots_of(gs_atomic_load(&control->taken[ring]));
		uint64_t mine = slots_of(before[ring]);

		places[ring] = (struct gs_mailbox_place){
			.position = gs_atomic_load(&control->position[ring]) + mine,
			.sequence = *(const volatile uint64_t *)&row->records[ring] +
				    records_of(before[ring]),
			.slots = slots > mine ? slots - mine : 0,
		};
	}
	if (share.records[GS_MAILBOX_FINDINGS] + share.records[GS_MAILBOX_DATA])
		gs_mailbox_fill(writer, &from, places);
	// The row tells of what is there.
	gs_rt_meet(ctx, control);
	if (ctx->thread_index)
		return;
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		uint64_t taken = records_of(gs_atomic_load(&control->taken[ring]));

		row->records[ring] += taken;
		gs_atomic_add(&shared->out_lost, records_of(total[ring]) - taken);
	}
}
