/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time that the watched system has had, for detectors that wait for something to happen in it. A virtual machine that
 * was paused, or a system that stands still, has had none: nothing could have happened.
 */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#ifndef NSEC_PER_MSEC
#define NSEC_PER_MSEC 1000000ULL
#endif

// What the time between two runs counts for at most: this program may have been stopped together with the system.
#define GUEST_STEP_MAX_NS (1000 * NSEC_PER_MSEC)
// An idle CPU may sleep until its next timer, and this long if it has none.
#define GUEST_SLEEP_MAX_NS (5000 * NSEC_PER_MSEC)
#define GUEST_LATE_MAX_NS (250 * NSEC_PER_MSEC)

static u64 guest_seen_ns;
static u64 guest_clocks;
static u64 guest_still_ns;

// When the first CPU should wake up, in nanoseconds from when the system was last seen to move.
static u64 guest_patience(s64 mono)
{
	s64 first = KTIME_MAX;
	unsigned int cpu;

	for_each_online_cpu (cpu)
		first = min(first, tick_next_event(cpu));
	if (first == KTIME_MAX)
		return GUEST_SLEEP_MAX_NS;
	return first > mono ? min((u64)(first - mono), GUEST_SLEEP_MAX_NS) : 0;
}

// Nanoseconds since the call before, without those in which the system stood still; 0 in the first.
static u64 guest_step(void)
{
	u64 now = now_ns(), step = min(now - guest_seen_ns, GUEST_STEP_MAX_NS);
	s64 mono = ktime_get();
	u64 clocks = mono;
	unsigned int cpu;

	for_each_online_cpu (cpu)
		clocks += per_cpu_ptr(&runqueues, cpu)->clock;
	if (!guest_seen_ns)
		step = 0;
	guest_seen_ns = now;
	if (clocks != guest_clocks) {
		guest_clocks = clocks;
		guest_still_ns = 0;
		return step;
	}
	guest_still_ns += step;
	return guest_still_ns <= guest_patience(mono) + GUEST_LATE_MAX_NS ? step : 0;
}

#endif
