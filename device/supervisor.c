// SPDX-License-Identifier: Apache-2.0
// The kernels that are no detectors: the supervisor, and what the engine asks of the GPU once.
#include "clock.h"
#include "mailbox.c"

#ifdef __NVPTX__
#define KERNEL __attribute__((nvptx_kernel))
#else
#define KERNEL
#endif

KERNEL void gs_supervisor(struct gs_supervisor *supervisor);
KERNEL void gs_read_clock(uint64_t *ret);

KERNEL void gs_supervisor(struct gs_supervisor *supervisor)
{
	uint64_t next = gs_clock();

	while (!*(const volatile uint64_t *)&supervisor->stop) {
		uint64_t now = gs_clock();

		if (now < next) {
			gs_sleep(next - now);
			continue;
		}
		gs_supervisor_beat(supervisor, now, GS_MAILBOX_RUNNING);
		next += supervisor->period_ns;
		if (next <= now)
			next = now + supervisor->period_ns;
	}
	gs_supervisor_beat(supervisor, gs_clock(), GS_MAILBOX_STOPPED);
}

KERNEL void gs_read_clock(uint64_t *ret)
{
	*(volatile uint64_t *)ret = gs_clock();
}
