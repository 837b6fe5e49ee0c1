// SPDX-License-Identifier: Apache-2.0
// The loop of a detector that runs by itself. llview emits, for each detector,
//
//	while (gs_rt_loop_begin(ctx, control)) {
//		run;
//		gs_rt_loop_end(ctx, control);
//	}
//
// Everything that it knows lies in the context and the control: a loop that was told to stop goes on
// where it was when it is launched again.
#include "clock.h"
#include "mailbox.h"
#include "rt.h"

__attribute__((noinline)) uint32_t gs_rt_loop_begin(struct gs_ctx *ctx, struct gs_control *control)
{
	uint64_t kicked = control->kicked, now;

	for (;;) {
		if (*(const volatile uint64_t *)&control->stop) {
			gs_mailbox_set_state(&control->writer, GS_MAILBOX_STOPPED);
			return 0;
		}
		now = gs_clock();
		control->kicked = *(const volatile uint64_t *)&control->kick;
		if (now >= control->next_ns || control->kicked != kicked)
			break;
		gs_sleep(control->next_ns - now);
	}

	uint64_t due = control->next_ns ? control->next_ns : now;

	// A run out of turn leaves the others where they are. Those that were missed are skipped: a late detector
	// must not become a busy one.
	if (due <= now)
		due += control->period_ns;
	if (due <= now)
		due = now + control->period_ns;
	control->next_ns = due;
	ctx->now_ns = now;
	ctx->budget = control->budget;
	*(volatile uint64_t *)&control->since_ns = now;
	gs_mailbox_run_begin(&control->writer, now);
	return 1;
}

__attribute__((noinline)) void gs_rt_loop_end(struct gs_ctx *ctx, struct gs_control *control)
{
	((struct gs_mailbox_detector *)control->writer.entry)->kicked = control->kicked;
	gs_mailbox_run_end(&control->writer, ctx, gs_clock());
	ctx->run++;
	*(volatile uint64_t *)&control->since_ns = 0;
}
