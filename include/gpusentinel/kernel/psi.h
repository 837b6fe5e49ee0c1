/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Pressure stall information: for how long tasks could not go on for want of CPU, memory or I/O. kernel/sched/psi.c
 */
#ifndef GPUSENTINEL_KERNEL_PSI_H
#define GPUSENTINEL_KERNEL_PSI_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/system.h>

/** include/linux/psi_types.h; what some kernels lack is asked for. */
enum psi_states {
	PSI_IO_SOME,
	PSI_IO_FULL,
	PSI_MEM_SOME,
	PSI_MEM_FULL,
	PSI_CPU_SOME,
	/**
	 * Since Linux kernel commit 52b1364ba0b1 ("sched/psi: Add PSI_IRQ to track IRQ/SOFTIRQ pressure") (in v6.1),
	 * with CONFIG_IRQ_TIME_ACCOUNTING.
	 */
	PSI_IRQ_FULL,
	/** The last one, and of use only to weigh the others. */
	PSI_NONIDLE,
};

/** More than any kernel has. */
#define PSI_STATES_MAX 12U

enum psi_task_count {
	NR_MEMSTALL = 1,
};

/** A CPU's part. */
struct psi_group_cpu {
	/** Bit of each state that goes on since state_start. */
	u32 state_mask;
	/** Nanoseconds in each state; they wrap. */
	u32 times[1];
	u64 state_start;
	/** times[] when they were last added to the group's totals; those for averages first. */
	u32 times_prev[1];
} __kernel_type;

struct psi_group {
	struct psi_group_cpu *pcpu;
	/** Nanoseconds in each state when the averages were last taken. */
	u64 avg_total[1];
	u64 avg_last_update;
	u64 avg_next_update;
	/** Nanoseconds in each state, weighed by how busy the CPUs were; those for averages first. */
	u64 total[1];
	/** Percent in fixed point, as loads: of each state over 10, 60 and 300 s. */
	unsigned long avg[1];
} __kernel_type;

/** Of the whole system. */
extern struct psi_group psi_system __ksym __weak;

/** A static key, of which this is the count: not 0 if pressure is not measured. */
extern int psi_disabled __ksym __weak;

/** Nanoseconds between two updates of the averages. */
extern u64 psi_period __ksym __weak;

/** include/linux/psi.h, as a bit of task_struct.psi_flags: the task waits for memory. */
struct task_struct___psi {
	unsigned int psi_flags;
} __kernel_type;

/** Factors of the averages in fixed point: 1/exp(2s/10s) and so on. */
#define EXP_10s 1677
#define EXP_60s 1981
#define EXP_300s 2034

/** Pressure as it would be shown at a time. */
struct psi_view {
	/** Nanoseconds. */
	u64 total[PSI_STATES_MAX];
	/** Percent in fixed point. */
	unsigned long avg[PSI_STATES_MAX][3];
};

/** States that a group has totals of. */
static __always_inline unsigned int psi_states(void)
{
	return min((unsigned int)bpf_core_enum_value(enum psi_states, PSI_NONIDLE), PSI_STATES_MAX);
}

/**
 * kernel/sched/psi.c, collect_percpu_times(): add what CPUs have measured since the totals were last taken, each by
 * how long it was not idle. @p now is the CPUs' clock (rq.clock), whose tick is 4 ms or so.
 */
static inline void collect_percpu_times(const struct psi_group *group, u64 now, u64 *total)
{
	unsigned int states = psi_states(), cpu;
	u64 deltas[PSI_STATES_MAX] = {}, nonidle_total = 0;

	for_each_possible_cpu (cpu) {
		const struct psi_group_cpu *groupc = per_cpu_ptr(group->pcpu, cpu);
		const u32 *times = groupc->times, *prev = groupc->times_prev;
		u32 mask = groupc->state_mask;
		u32 current = (u32)(now - groupc->state_start), delta[PSI_STATES_MAX + 1];

		for (unsigned int s = 0; s <= states; s++) {
			delta[s] = times[s] - prev[s];
			if (now > groupc->state_start && (mask >> s) & 1)
				delta[s] += current;
		}

		// The kernel counts jiffies here; the ratio is the same.
		u64 nonidle = delta[states] / 1000000;

		nonidle_total += nonidle;
		for (unsigned int s = 0; s < states; s++)
			deltas[s] += (u64)delta[s] * nonidle;
	}
	for (unsigned int s = 0; s < states; s++)
		total[s] += deltas[s] / max(nonidle_total, (u64)1);
}

/** kernel/sched/loadavg.c, calc_load() */
static __always_inline unsigned long calc_load(unsigned long load, unsigned long exp,
					       unsigned long active)
{
	unsigned long newload = load * exp + active * (FIXED_1 - exp);

	if (active >= load)
		newload += FIXED_1 - 1;
	return newload / FIXED_1;
}

/** kernel/sched/loadavg.c, calc_load_n() with nothing active: as if calc_load() ran @p n times. */
static __always_inline unsigned long calc_load_n(unsigned long load, unsigned long exp, u64 n)
{
	unsigned long power = FIXED_1;

	for (int bit = 0; bit < 32 && n; bit++, n >>= 1) {
		if (n & 1)
			power = (power * exp + (1UL << (FSHIFT - 1))) >> FSHIFT;
		exp = (exp * exp + (1UL << (FSHIFT - 1))) >> FSHIFT;
	}
	return calc_load(load, power, 0);
}

/** What /proc/pressure would show @p now, which the kernel works out when it is read. */
static inline void psi_view(const struct psi_group *group, u64 now, struct psi_view *view)
{
	unsigned int states = psi_states();
	u64 period = &psi_period ? psi_period : 2 * NSEC_PER_SEC;
	u64 next = group->avg_next_update, last = group->avg_last_update, missed = 0;

	for (unsigned int s = 0; s < states; s++) {
		view->total[s] = (&group->total[0])[s];
		for (unsigned int w = 0; w < 3; w++)
			view->avg[s][w] = (&group->avg[0])[s * 3 + w];
	}
	collect_percpu_times(group, now, view->total);
	if (now < next || now <= last || !period)
		return;
	if (now - next >= period)
		missed = (now - next) / period;

	u64 passed = now - min(last + missed * period, now - 1);

	for (unsigned int s = 0; s < states; s++) {
		u64 sample = min(view->total[s] - (&group->avg_total[0])[s], passed);
		unsigned long percent = sample * 100 / passed * FIXED_1;
		unsigned long *avg = view->avg[s];

		if (missed) {
			avg[0] = calc_load_n(avg[0], EXP_10s, missed);
			avg[1] = calc_load_n(avg[1], EXP_60s, missed);
			avg[2] = calc_load_n(avg[2], EXP_300s, missed);
		}
		avg[0] = calc_load(avg[0], EXP_10s, percent);
		avg[1] = calc_load(avg[1], EXP_60s, percent);
		avg[2] = calc_load(avg[2], EXP_300s, percent);
	}
}

#endif
