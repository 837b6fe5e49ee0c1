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
	/** The task that runs on this CPU, and the one that does when there is nothing to do. */
	struct task_struct *curr;
	struct task_struct *idle;
	/** Tasks that want to run here, with the one that does. */
	unsigned int nr_running;
	/** Context switches since boot. */
	u64 nr_switches;
	/**
	 * Nanoseconds of this CPU's own clock when it was last looked at: by the scheduler or by
	 * the tick.
	 */
	u64 clock;
	/** Tasks that sleep here until I/O is done. */
	atomic_t nr_iowait;
	/** Chains sched_entity.group_node of all tasks of the fair class that want to run here. */
	struct list_head cfs_tasks;
} __kernel_type;

extern struct rq runqueues __ksym;

/** Cleared when another task is to run; arch/x86/include/asm/preempt.h */
#define PREEMPT_NEED_RESCHED 0x80000000U

/**
 * A variable of its own, but for kernels from v6.2 ("x86/percpu: Move preempt_count next to
 * current_task") to v6.14, which have it in struct pcpu_hot.
 */
extern u32 __preempt_count __ksym __weak;

struct pcpu_hot {
	u32 preempt_count;
	void *hardirq_stack_ptr;
	bool hardirq_stack_inuse;
} __kernel_type;

extern struct pcpu_hot pcpu_hot __ksym __weak;

/**
 * The last word of the stack on which a CPU handles interrupts, and whether it does so now. In struct pcpu_hot
 * as above; before v5.12 ("x86/irq: Sanitize irq stack tracking") a count in place of the latter.
 */
extern void *hardirq_stack_ptr __ksym __weak;
extern bool hardirq_stack_inuse __ksym __weak;

/** Its bytes; arch/x86/include/asm/page_64_types.h */
#define IRQ_STACK_SIZE (16 * 1024UL)

/**
 * Whether CPU @p cpu was asked to let another task run, and has not yet done so; false where the
 * kernel has the count in neither place.
 */
static inline bool cpu_need_resched(unsigned int cpu)
{
	u32 count = PREEMPT_NEED_RESCHED;

	if (&__preempt_count)
		count = *per_cpu_ptr(&__preempt_count, cpu);
	else if (&pcpu_hot && bpf_core_field_exists(struct pcpu_hot, preempt_count))
		count = per_cpu_ptr(&pcpu_hot, cpu)->preempt_count;
	return !(count & PREEMPT_NEED_RESCHED);
}

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
