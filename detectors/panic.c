// SPDX-License-Identifier: Apache-2.0
// A panic, within a millisecond: one word is read in each run, and nothing else until it changes.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "crash.h"
#include "klog.h"

#define PERIOD_US 250
// How long to wait for the kernel to say why it panicked: it does so after it has chosen the CPU.
#define REASON_RUNS (1000000 / PERIOD_US)
// Records behind the message: the kernel writes on for a while.
#define RECORDS_MAX 64

// crash_kexec() lets go of the CPU again if there is no crash kernel, just before panic() takes it.
#define AGAIN_NS 5000000000ULL

static int seen = PANIC_CPU_INVALID;
static int told = PANIC_CPU_INVALID;
static u64 told_ns;
// Runs until the reason is told, known or not.
static u32 runs_left;

static bool is_cpu(int cpu)
{
	return cpu >= 0 && (unsigned int)cpu < nr_cpumask_bits();
}

static void tell_reason(int cpu)
{
	static const char prefix[] = "Kernel panic - not syncing: ";
	struct klog_line line;

	if (klog_last(prefix, RECORDS_MAX, &line) == ~0UL && --runs_left)
		return;
	runs_left = 0;

	const struct task_struct *curr = per_cpu_ptr(&runqueues, cpu)->curr;
	// kernel/exit.c and arch/x86/kernel/dumpstack.c say so of an oops.
	bool oops = klog_begins(&line, "Kernel panic - not syncing: Fatal exception");
	const char *reason = line.text[0] ? line.text + sizeof(prefix) - 1 : "unknown";
	struct stack_trace trace;
	struct taint taint;

	panic_stack(cpu, curr, oops, &trace);
	taint_letters(tainted_mask, &taint);
#define TELL_REASON(stack, ...)                                                            \
	finding(CRITICAL, "%s; cpu=%d pid=%d comm=%s taint=%s, stack=" stack, reason, cpu, \
		curr->pid, curr->comm, taint.letters, ##__VA_ARGS__)
	with_stack(&trace, STACK_SHOWN_MAX, TELL_REASON);
}

DETECTOR(panic, .description = "whether the system has panicked", .period_us = PERIOD_US)
{
	int cpu = panic_cpu;

	if (cpu == seen) {
		if (runs_left)
			tell_reason(cpu);
		return;
	}
	seen = cpu;
	runs_left = 0;
	if (!is_cpu(cpu))
		return;

	struct task_struct *curr = per_cpu_ptr(&runqueues, cpu)->curr;

	runs_left = REASON_RUNS;
	if (cpu != told || now_ns() - told_ns >= AGAIN_NS)
		finding(CRITICAL, "kernel panic: cpu=%d pid=%d comm=%s", cpu, curr->pid,
			curr->comm);
	told = cpu;
	told_ns = now_ns();
	// In the next run: what a run finds is read when it ends, and the news does not wait for the reason. It is there
	// already in the memory of a machine that has been dead for a while.
	if (!run_count())
		tell_reason(cpu);
}
