/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What makes time pass on a CPU: jiffies, and the device that interrupts it.
 */
#ifndef GPUSENTINEL_KERNEL_TIME_H
#define GPUSENTINEL_KERNEL_TIME_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>

/** Ticks since boot. */
extern u64 jiffies_64 __ksym;

/** Not 0 while the system sleeps: time stands still with everything that depends on it. */
extern int timekeeping_suspended __ksym __weak;

/** include/linux/ktime.h */
#define KTIME_MAX ((s64) ~(1ULL << 63))

/** include/linux/clockchips.h */
enum clock_event_state {
	/** It interrupts every tick by itself. */
	CLOCK_EVT_STATE_PERIODIC = 2,
	/** It interrupts once, at next_event. */
	CLOCK_EVT_STATE_ONESHOT = 3,
};

struct clock_event_device {
	/** Nanoseconds of CLOCK_MONOTONIC. */
	ktime_t next_event;
	enum clock_event_state state_use_accessors;
} __kernel_type;

/** kernel/time/tick-sched.h */
struct tick_device {
	struct clock_event_device *evtdev;
} __kernel_type;

/** Of each CPU. */
extern struct tick_device tick_cpu_device __ksym;

/**
 * When CPU @p cpu will be interrupted by its timer, in nanoseconds of CLOCK_MONOTONIC: 0 if at the
 * next tick, KTIME_MAX if never or if it has no timer of its own. An idle CPU may sleep for long.
 */
static inline s64 tick_next_event(unsigned int cpu)
{
	const struct clock_event_device *dev = per_cpu_ptr(&tick_cpu_device, cpu)->evtdev;
	unsigned int state;

	if (!dev)
		return KTIME_MAX;
	state = dev->state_use_accessors;
	if (state == bpf_core_enum_value(enum clock_event_state, CLOCK_EVT_STATE_PERIODIC))
		return 0;
	if (state != bpf_core_enum_value(enum clock_event_state, CLOCK_EVT_STATE_ONESHOT))
		return KTIME_MAX;
	return dev->next_event;
}

#endif
