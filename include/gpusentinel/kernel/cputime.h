/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a CPU's time went into, as /proc/stat shows it.
 */
#ifndef GPUSENTINEL_KERNEL_CPUTIME_H
#define GPUSENTINEL_KERNEL_CPUTIME_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>

/**
 * include/linux/kernel_stat.h. The order is that of Linux kernel commit 3292beb340c7 ("sched/accounting: Change
 * cpustat fields to an array") (in v3.3); what came later was put behind these.
 */
enum cpu_usage_stat {
	CPUTIME_USER,
	CPUTIME_NICE,
	CPUTIME_SYSTEM,
	CPUTIME_SOFTIRQ,
	CPUTIME_IRQ,
	CPUTIME_IDLE,
	CPUTIME_IOWAIT,
	CPUTIME_STEAL,
	CPUTIME_GUEST,
	CPUTIME_GUEST_NICE,
	NR_STATS,
};

/** Nanoseconds since boot. */
struct kernel_cpustat {
	u64 cpustat[NR_STATS];
} __kernel_type;

extern struct kernel_cpustat kernel_cpustat __ksym;

/**
 * New in 7.x: cpustat also counts idle time while the tick is stopped, and the sleep that goes on is known here.
 * Before that, in struct tick_sched.
 */
struct kernel_cpustat___elapse {
	/** The CPU sleeps since idle_entrytime, nanoseconds of CLOCK_MONOTONIC. */
	bool idle_elapse;
	u64 idle_entrytime;
	/** Of that, what the hypervisor took, without and with tasks that wait for I/O. */
	u64 idle_stealtime[2];
} __kernel_type;

/** kernel/time/tick-sched.h */
struct tick_sched___sleeptime {
	ktime_t idle_entrytime;
	ktime_t idle_sleeptime;
	ktime_t iowait_sleeptime;
} __kernel_type;

/**
 * Since v6.9 ("tick: Move individual bit features to debuggable mask accesses"), a bit of flags says that the CPU
 * sleeps. Before that, a bit field.
 */
struct tick_sched___flags {
	unsigned long flags;
} __kernel_type;

#define TS_FLAG_IDLE_ACTIVE (1UL << 2)

struct tick_sched___bits {
	unsigned int idle_active : 1;
} __kernel_type;

/** Of each CPU; the type is not named, as its members moved: see the flavours above. */
extern struct tick_sched___sleeptime tick_cpu_sched __ksym __weak;

/** Not 0 if CPUs stop their ticks; its first byte, as it is an int in some kernels and a bool in others. */
extern u8 tick_nohz_active __ksym __weak;

static __always_inline bool tick_sched_idle_active(const void *ts)
{
	if (bpf_core_field_exists(struct tick_sched___flags, flags))
		return ((const struct tick_sched___flags *)ts)->flags & TS_FLAG_IDLE_ACTIVE;
	if (bpf_core_field_exists(struct tick_sched___bits, idle_active))
		return ((const struct tick_sched___bits *)ts)->idle_active;
	return false;
}

/**
 * Nanoseconds since boot that CPU @p cpu was idle, without and with tasks that wait for I/O, as get_idle_time() and
 * get_iowait_time() in fs/proc/stat.c: a CPU that sleeps is given the time up to @p now, CLOCK_MONOTONIC.
 * @p stat is its kernel_cpustat, @p io_waiters its rq->nr_iowait. For CPUs that are online.
 */
static inline void get_idle_times(unsigned int cpu, const u64 *stat, bool io_waiters, u64 now,
				  u64 *idle, u64 *iowait)
{
	const void *ts = &tick_cpu_sched ? per_cpu_ptr(&tick_cpu_sched, cpu) : NULL;
	const struct kernel_cpustat___elapse *elapse =
		(const struct kernel_cpustat___elapse *)per_cpu_ptr(&kernel_cpustat, cpu);
	u64 sleep = 0, since = 0;

	*idle = stat[CPUTIME_IDLE];
	*iowait = stat[CPUTIME_IOWAIT];
	if (bpf_core_field_exists(elapse->idle_elapse)) {
		if (elapse->idle_elapse)
			since = elapse->idle_entrytime + elapse->idle_stealtime[io_waiters];
	} else if (ts && &tick_nohz_active && tick_nohz_active &&
		   bpf_core_field_exists(struct tick_sched___sleeptime, idle_sleeptime)) {
		const struct tick_sched___sleeptime *times = ts;

		*idle = times->idle_sleeptime;
		*iowait = times->iowait_sleeptime;
		if (tick_sched_idle_active(ts))
			since = times->idle_entrytime;
	}
	if (since && now > since)
		sleep = now - since;
	*(io_waiters ? iowait : idle) += sleep;
}

/** A limit that heat has set; drivers/thermal/intel/therm_throt.c */
struct _thermal_state {
	/** Times that the CPU was throttled since boot. */
	unsigned long count;
} __kernel_type;

struct thermal_state {
	struct _thermal_state core_throttle;
	struct _thermal_state package_throttle;
} __kernel_type;

/** Of each CPU. */
extern struct thermal_state thermal_state __ksym __weak;

#endif
