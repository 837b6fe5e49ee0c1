/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * CPUs, and variables of which each CPU has its own.
 */
#ifndef GPUSENTINEL_KERNEL_CPU_H
#define GPUSENTINEL_KERNEL_CPU_H

#include <gpusentinel/kernel/base.h>

/** include/linux/cpumask.h; declared for its size alone. */
struct cpumask {
	unsigned long bits[1];
} __kernel_type;

/** Bit N is CPU N. */
extern unsigned long __cpu_possible_mask[] __ksym;
extern unsigned long __cpu_online_mask[] __ksym;

/** Highest possible CPU plus one. A constant, hence absent, with CONFIG_FORCE_NR_CPUS. */
extern unsigned int nr_cpu_ids __ksym __weak;

/** What to add to the address of a per-CPU variable for CPU N. */
extern unsigned long __per_cpu_offset[] __ksym;

/** Bits of a cpumask that may be set; no more than a cpumask has, whatever memory says. */
static __always_inline unsigned int nr_cpumask_bits(void)
{
	unsigned int bits = bpf_core_type_size(struct cpumask) * 8;

	return &nr_cpu_ids ? min(nr_cpu_ids, bits) : bits;
}

static __always_inline bool cpumask_test_cpu(unsigned int cpu, const unsigned long *mask)
{
	return (mask[cpu / 64] >> (cpu % 64)) & 1;
}

#define for_each_cpu(cpu, mask)                                                       \
	for (unsigned int __cpus = (cpu = 0, nr_cpumask_bits()); cpu < __cpus; cpu++) \
		if (cpumask_test_cpu(cpu, mask))

#define for_each_possible_cpu(cpu) for_each_cpu(cpu, __cpu_possible_mask)
#define for_each_online_cpu(cpu) for_each_cpu(cpu, __cpu_online_mask)

/**
 * CPU @p cpu's instance of the per-CPU variable at @p ptr: a `__ksym` or a pointer from
 * alloc_percpu().
 */
#define per_cpu_ptr(ptr, cpu) ((typeof(ptr))((unsigned long)(ptr) + __per_cpu_offset[cpu]))

struct task_struct;

/** kernel/sched/sched.h */
struct rq {
	/** The task that runs on this CPU. */
	struct task_struct *curr;
} __kernel_type;

extern struct rq runqueues __ksym;

/** include/linux/percpu_counter.h */
struct percpu_counter {
	s64 count;
	/**
	 * What CPUs have not yet added to count; NULL before it is set up and after it is
	 * destroyed.
	 */
	s32 *counters;
} __kernel_type;

/**
 * Exact value, not below zero, as percpu_counter_sum_positive(). The kernel leaves out CPUs that
 * are offline, whose part it has moved to the sum; but a panic marks CPUs as offline without that.
 */
static inline s64 percpu_counter_sum_positive(const struct percpu_counter *fbc)
{
	s64 sum = fbc->count;
	s32 *counters = fbc->counters;
	unsigned int cpu;

	if (!counters)
		return max(sum, (s64)0);
	for_each_possible_cpu (cpu)
		sum += *per_cpu_ptr(counters, cpu);
	return max(sum, (s64)0);
}

#endif
