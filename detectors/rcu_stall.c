// SPDX-License-Identifier: Apache-2.0
// Grace periods of RCU that do not end, and the CPUs and tasks that they wait for.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "guest_clock.h"

PARAM(limit_ms, 5000, "milliseconds that a grace period may last");
PARAM(error_ms, 21000, "milliseconds from which on it is an error; the kernel's own limit");

ALARMS(rcu_stall, 128, .fall_ms = 1000);
ALARMS(rcu_expedited_stall, 128, .fall_ms = 1000);

// Conditions of one table: CPUs by their number, tasks by pid, and the thread that drives grace periods.
#define KEY_TASK (1ULL << 32)
#define KEY_KTHREAD (2ULL << 32)

// Readers that one grace period waits for.
#define READERS_MAX 64

// One kind of grace period, followed from run to run.
struct follow {
	unsigned long seq;
	u64 lasted_ns;
};

static struct follow normal, expedited;

static u64 msecs(u64 ns)
{
	return ns / NSEC_PER_MSEC;
}

// @return whether one has gone on for too long.
static bool follow(struct follow *f, unsigned long seq, u64 step)
{
	bool same = seq == f->seq && rcu_seq_state(seq);

	f->seq = seq;
	f->lasted_ns = same ? f->lasted_ns + step : 0;
	return same && msecs(f->lasted_ns) >= limit_ms;
}

static enum severity severity(const struct follow *f)
{
	return msecs(f->lasted_ns) >= error_ms ? ERROR : WARNING;
}

// Whether the CPU can still end it by itself: an idle one has nothing to do with it.
static bool tell_cpu(const struct follow *f, unsigned int cpu)
{
	const struct rq *rq = per_cpu_ptr(&runqueues, cpu);
	const struct task_struct *curr = rq->curr;
	// A CPU that has not even seen it takes no timer interrupts.
	bool noticed = per_cpu_ptr(&rcu_data, cpu)->gp_seq == f->seq;
	u64 ms = msecs(f->lasted_ns);

	if (curr == rq->idle)
		return false;

	void *function = kthread_function(curr);

#define TELL_CPU(table, what, ...)                                                              \
	alarm_lasting(table, cpu, f->lasted_ns, severity(f),                                    \
		      "grace period waits for cpu=%u: waited_ms=%llu pid=%d comm=%s" what, cpu, \
		      ms, curr->pid, curr->comm, ##__VA_ARGS__)
	if (f == &expedited) {
		if (function)
			TELL_CPU(rcu_expedited_stall, ", a kernel thread of %pS", function);
		else
			TELL_CPU(rcu_expedited_stall, "");
	} else {
		if (function)
			TELL_CPU(rcu_stall, " noticed=%d, a kernel thread of %pS", noticed,
				 function);
		else
			TELL_CPU(rcu_stall, " noticed=%d", noticed);
	}
	return true;
}

static void tell_task(const struct follow *f, const struct task_struct *p)
{
	struct stack_trace trace = {};
	u64 ms = msecs(f->lasted_ns);

	// The stack of a task that runs is not at rest.
	if (!task_on_cpu(p)) {
		stack_trace_save_tsk(p, &trace);
		stack_trace_skip_sched(&trace);
	}
#define TELL_TASK(stack, ...)                                                                     \
	do {                                                                                      \
		if (f == &expedited)                                                              \
			alarm_lasting(rcu_expedited_stall, KEY_TASK | (u32)p->pid, f->lasted_ns,  \
				      severity(f),                                                \
				      "grace period waits for a reader: waited_ms=%llu pid=%d "   \
				      "comm=%s state=%c, stack=" stack,                           \
				      ms, p->pid, p->comm, task_state_to_char(p), ##__VA_ARGS__); \
		else                                                                              \
			alarm_lasting(rcu_stall, KEY_TASK | (u32)p->pid, f->lasted_ns,            \
				      severity(f),                                                \
				      "grace period waits for a reader: waited_ms=%llu pid=%d "   \
				      "comm=%s state=%c, stack=" stack,                           \
				      ms, p->pid, p->comm, task_state_to_char(p), ##__VA_ARGS__); \
	} while (0)
	with_stack(&trace, 2, TELL_TASK);
}

// From the first reader that holds it to the end of the list: those before came later.
static bool tell_readers(const struct follow *f, const struct rcu_node *rnp)
{
	const struct list_head *head =
		(const struct list_head *)((unsigned long)rnp +
					   bpf_core_field_offset(struct rcu_node, blkd_tasks));
	const struct list_head *at = f == &expedited ? rnp->exp_tasks : rnp->gp_tasks;
	bool found = false;

	if (!bpf_core_field_exists(struct task_struct, rcu_node_entry))
		return false;
	for (u32 i = 0; at && at != head && i < READERS_MAX; i++) {
		tell_task(f,
			  container_of((struct list_head *)at, struct task_struct, rcu_node_entry));
		at = at->next;
		found = true;
	}
	return found;
}

static void tell(const struct follow *f)
{
	struct rcu_node *rnp;
	bool found = false;

	for_each_leaf_node(rnp)
	{
		u64 mask = f == &expedited ? rnp->expmask : rnp->qsmask;

		for (; mask; mask &= mask - 1) {
			unsigned int cpu = rnp->grplo + __builtin_ctzll(mask);

			if (cpu < nr_cpumask_bits())
				found |= tell_cpu(f, cpu);
		}
		found |= tell_readers(f, rnp);
	}
	if (found || f == &expedited)
		return;

	const struct task_struct *p = rcu_state.gp_kthread;

	alarm_lasting(
		rcu_stall, KEY_KTHREAD, f->lasted_ns, severity(f),
		"grace period waits for nobody, but its thread does not end it: waited_ms=%llu "
		"pid=%d comm=%s state=%c",
		msecs(f->lasted_ns), p->pid, p->comm, task_state_to_char(p));
}

DETECTOR(rcu_stall, .description = "grace periods of RCU that do not end", .period_ms = 250)
{
	u64 step = guest_step();

	// Nothing ends after a panic, and the boot has its own time.
	if (panic_cpu != PANIC_CPU_INVALID || !system_is_up())
		return;
	if (follow(&normal, rcu_state.gp_seq, step))
		tell(&normal);
	if (follow(&expedited, rcu_state.expedited_sequence, step))
		tell(&expedited);
	alarms_end(rcu_stall);
	alarms_end(rcu_expedited_stall);
	row("gp_seq=%lu gp_lasted_ms=%llu expedited_seq=%lu expedited_lasted_ms=%llu", normal.seq,
	    msecs(normal.lasted_ns), expedited.seq, msecs(expedited.lasted_ns));
}
