// SPDX-License-Identifier: Apache-2.0
// A panic, within a millisecond: one word is read in each run, and nothing else until it changes.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

static int seen = PANIC_CPU_INVALID;

DETECTOR(panic, .description = "whether the system has panicked", .period_us = 250)
{
	int cpu = panic_cpu;

	if (cpu == seen)
		return;
	seen = cpu;
	if (cpu < 0 || (unsigned int)cpu >= nr_cpumask_bits())
		return;

	struct task_struct *curr = per_cpu_ptr(&runqueues, cpu)->curr;

	finding(CRITICAL, "kernel panic: cpu=%d pid=%d comm=%s", cpu, curr->pid, curr->comm);
}
