// SPDX-License-Identifier: Apache-2.0
// The loop of a detector that runs by itself. llview emits, for each detector,
//
//	while ((go = gs_rt_loop_begin(&ctx, shared, control)) != GS_LOOP_RETURN) {
//		if (go == GS_LOOP_RUN)
//			run;
//		gs_rt_loop_end(&ctx, control);
//	}
//
// Everything that it knows lies in the shared context and the control: a loop that was told to stop goes
// on where it was when it is launched again. Thread 0 leads: it alone decides and writes what all share,
// before all meet.
#include "clock.h"
#include "mailbox.h"
#include "rt.h"
#include "sync.h"

GS_CONVERGENT void gs_rt_meet(struct gs_ctx *ctx, struct gs_control *control)
{
	gs_rt_block_meet(ctx);
	if (ctx->blocks <= 1)
		return;
	if (ctx->thread_index % ctx->threads == 0) {
		uint32_t met = gs_atomic_load(&control->met);

		gs_fence_device();
		if (gs_atomic_add(&control->arrived, 1) + 1 == ctx->blocks) {
			gs_atomic_store(&control->arrived, 0);
			gs_fence_device();
			gs_atomic_store(&control->met, met + 1);
		}
		while (gs_atomic_load(&control->met) == met)
			gs_pause(500);
		gs_fence_device();
	}
	gs_rt_block_meet(ctx);
}

// Between two runs the engine may ask for a pause, in case it wants the loop to return soon. It lasts only so
// long: should the engine be no more, the detector goes on. @return true while it does.
static bool pause_for_engine(struct gs_control *control, uint64_t stop, uint64_t now)
{
	if (stop == GS_CONTROL_RUN) {
		control->resumed = 0;
	} else if (!control->resumed) {
		if (!control->parked)
			gs_atomic_store(&control->parked, now);
		if (now - control->parked < stop)
			return true;
		control->resumed = 1;
	}
	if (control->parked)
		gs_atomic_store(&control->parked, 0);
	return false;
}

// Until a run is due, or wanted out of turn. @now_ret: when that was. @return false: told to stop.
static bool wait_for_turn(struct gs_control *control, uint64_t *now_ret)
{
	enum { PAUSE_NS = 100000 };
	uint64_t kicked = control->kicked;

	for (;;) {
		uint64_t stop = gs_atomic_load(&control->stop), now = gs_clock();

		if (stop == GS_CONTROL_STOP)
			break;
		if (pause_for_engine(control, stop, now)) {
			gs_sleep(PAUSE_NS);
			continue;
		}
		*now_ret = now;
		control->kicked = gs_atomic_load(&control->kick);
		if (now >= control->next_ns || control->kicked != kicked)
			return true;
		// Up to twice as long as it is told: the second half is left to a shorter sleep.
		gs_sleep((control->next_ns - now) / 2);
	}
	gs_atomic_store(&control->parked, 0);
	return false;
}

// A run out of turn leaves the others where they are. Those that were missed are skipped: a late detector must
// not become a busy one.
static uint64_t next_after(const struct gs_control *control, uint64_t now)
{
	uint64_t due = control->next_ns ? control->next_ns : now;

	if (due <= now)
		due += control->period_ns;
	return due > now ? due : now + control->period_ns;
}

static void prepare(struct gs_ctx *shared, struct gs_control *control, uint64_t now)
{
	gs_atomic_store(&shared->now_ns, now);
	gs_atomic_store(&shared->budget, control->budget);
	gs_atomic_store(&shared->out_used, 0);
	gs_atomic_store(&shared->out_lost, 0);
	gs_atomic_store(&shared->faults, 0);
	gs_atomic_store(&shared->fault_address, 0);
	gs_atomic_store(&shared->walks, 0);
	gs_atomic_store(&shared->stop, GS_STOP_NONE);
	gs_atomic_store(&shared->stop_site, 0);
	control->next_ns = next_after(control, now);
	gs_atomic_store(&control->since_ns, now);
	gs_mailbox_run_begin(&control->writer, now);
}

__attribute__((noinline)) uint32_t gs_rt_loop_begin(struct gs_ctx *ctx, struct gs_ctx *shared,
						    struct gs_control *control)
{
	gs_rt_copy_context(ctx, shared);
	if (!ctx->thread_index) {
		uint64_t now;
		bool go = wait_for_turn(control, &now);

		if (go)
			prepare(shared, control, now);
		else
			gs_mailbox_set_state(&control->writer, GS_MAILBOX_STOPPED);
		gs_atomic_store(&control->go, go);
	}
	gs_rt_meet(ctx, control);
	if (!gs_atomic_load(&control->go))
		return GS_LOOP_RETURN;
	gs_rt_enter(ctx, shared);
	if (!control->solo)
		return GS_LOOP_RUN;
	if (ctx->thread_index)
		return GS_LOOP_HELP;
	// To the detector there is no other.
	ctx->threads = 1;
	return GS_LOOP_RUN;
}

// What one thread found is shared out among the helpers, so many chunks in a row to each.
static void share_out(struct gs_ctx *ctx, uint32_t solo)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);

	if (!ctx->thread_index) {
		ctx->threads = solo;
		block->shared[0] = ctx->first_chunk;
		block->shared[1] = ctx->chunks;
	}
	gs_rt_block_meet(ctx);

	uint64_t at = block->shared[0], chunks = block->shared[1];
	uint64_t share = (chunks + solo - 1) / solo;
	uint64_t first = ctx->thread_index * share;
	const struct gs_ctx *shared = (const struct gs_ctx *)ctx->shared;

	ctx->first_chunk = 0;
	ctx->chunks = 0;
	if (first >= chunks)
		return;
	for (uint64_t i = 0; i < first; i++)
		at = shared->out + ((const struct gs_chunk *)at)->next;
	ctx->first_chunk = at;
	ctx->chunks = chunks - first < share ? chunks - first : share;
}

__attribute__((noinline)) void gs_rt_loop_end(struct gs_ctx *ctx, struct gs_control *control)
{
	struct gs_ctx *shared = (struct gs_ctx *)ctx->shared;
	uint64_t lost = 0;

	if (!control->solo || !ctx->thread_index)
		gs_rt_leave(ctx);
	if (control->solo)
		share_out(ctx, control->solo);
	if (gs_rt_in_chunks(ctx))
		gs_rt_publish(ctx, control);
	else
		lost = gs_mailbox_publish(&control->writer, ctx);
	if (ctx->thread_index)
		return;
	((struct gs_mailbox_detector *)control->writer.entry)->kicked = control->kicked;
	gs_mailbox_run_end(&control->writer, shared, lost, gs_clock());
	gs_atomic_store(&shared->run, shared->run + 1);
	gs_atomic_store(&control->since_ns, 0);
}
