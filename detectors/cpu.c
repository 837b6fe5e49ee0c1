// SPDX-License-Identifier: Apache-2.0
// What each CPU does with its time, and who waits for one.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "cpu_throttle.h"
#include "estimate.h"

#define NSEC_PER_MSEC 1000000ULL

// CONFIG_NR_CPUS of MAXSMP kernels.
#define MAX_CPUS 8192U
// Tasks that are looked at in the queue of one CPU.
#define MAX_QUEUED 256U
// Of an average, how much a run counts: 1 of so many.
#define AVERAGE_RUNS 4
// The key of what concerns all CPUs.
#define ALL_CPUS MAX_CPUS

PARAM(busy_permille, 900, "a CPU is saturated when it is busy for so much of its time, ...");
PARAM(waiting_permille, 900, "... and so many thousandths of a task wait for it on average");
PARAM(starve_ms, 1000, "milliseconds that a task may wait for a CPU");
PARAM(steal_permille, 100, "of the time of all CPUs that the hypervisor may give to others");

ALARMS(saturated, 64, .rise_ms = 1000, .fall_ms = 3000);
// Two looks at a queue that changes: one may have followed a task to another CPU's.
ALARMS(starved, 64, .rise_ms = 400, .fall_ms = 1000);
ALARMS(stolen, 1, .rise_ms = 2000, .fall_ms = 5000);
ALARMS(heat, 64, .rise_ms = 0, .fall_ms = 60000);

enum { USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL, IOWAIT, IDLE, TIMES };

// The task that was seen most on a CPU: a majority vote (Boyer and Moore), one ballot a run.
struct vote {
	u32 count;
	int pid;
	char comm[TASK_COMM_LEN];
};

struct cpu {
	// The run that saw what follows, plus one; 0: none.
	u64 run;
	u64 times[TIMES];
	// Thousandths of the time between the last two runs that differ.
	u32 permille[TIMES];
	u32 busy_average, waiting_average, steal_average;
	unsigned int nr_running;
	unsigned long throttled;
	struct vote vote;
};

static struct cpu cpus[MAX_CPUS];
static struct estimate clock;

static u32 average(u32 old, u32 sample)
{
	return (old * (AVERAGE_RUNS - 1) + sample + AVERAGE_RUNS / 2) / AVERAGE_RUNS;
}

// What a CPU has done since the run before, or since boot if it was not seen then.
static void cpu_times(struct cpu *c, const u64 *times)
{
	bool seen = c->run && c->run == run_count();
	u64 delta[TIMES], total = 0;

	for (unsigned int i = 0; i < TIMES; i++) {
		u64 before = seen ? c->times[i] : 0;

		// An idle CPU that is no longer so may be told to have slept for less than was estimated.
		delta[i] = times[i] > before ? times[i] - before : 0;
		c->times[i] = seen ? max(times[i], before) : times[i];
		total += delta[i];
	}
	if (!total)
		return;
	for (unsigned int i = 0; i < TIMES; i++)
		c->permille[i] = delta[i] * 1000 / total;
	if (!seen) {
		c->busy_average = c->waiting_average = c->steal_average = 0;
		c->vote.count = 0;
	}
}

static void cast_vote(struct vote *vote, const struct task_struct *curr, bool idle)
{
	int pid = curr->pid;

	if (idle || (vote->count && vote->pid != pid)) {
		vote->count -= vote->count > 0;
		return;
	}
	if (!vote->count) {
		vote->pid = pid;
		__builtin_memcpy(vote->comm, curr->comm, TASK_COMM_LEN);
		vote->comm[TASK_COMM_LEN - 1] = 0;
	}
	vote->count = min(vote->count + 1, 2U * AVERAGE_RUNS);
}

static void cpu_look(struct cpu *c, unsigned int cpu, u64 mono, u64 now)
{
	const struct kernel_cpustat *kc = per_cpu_ptr(&kernel_cpustat, cpu);
	const struct rq *rq = per_cpu_ptr(&runqueues, cpu);
	struct task_struct *curr = rq->curr;
	bool io_waiters = atomic_read(&rq->nr_iowait) > 0;
	u64 stat[NR_STATS], idle, iowait;

	__builtin_memcpy(stat, kc->cpustat, sizeof(stat));
	get_idle_times(cpu, stat, io_waiters, now, &idle, &iowait);

	u64 times[TIMES] = {
		[USER] = stat[CPUTIME_USER],
		[NICE] = stat[CPUTIME_NICE],
		[SYSTEM] = stat[CPUTIME_SYSTEM],
		[IRQ] = stat[CPUTIME_IRQ],
		[SOFTIRQ] = stat[CPUTIME_SOFTIRQ],
		[STEAL] = stat[CPUTIME_STEAL],
		[IOWAIT] = iowait,
		[IDLE] = idle,
	};

	cpu_times(c, times);
	c->run = run_count() + 1;
	c->nr_running = rq->nr_running;
	c->busy_average = average(c->busy_average,
				  1000 - min(c->permille[IDLE] + c->permille[IOWAIT], 1000U));
	c->waiting_average =
		average(c->waiting_average, min(c->nr_running - (c->nr_running > 0), 1000U) * 1000);
	c->steal_average = average(c->steal_average, c->permille[STEAL]);
	cast_vote(&c->vote, curr, curr == rq->idle);

	// As /proc/stat has them: to the time that memory knows.
	get_idle_times(cpu, stat, io_waiters, mono, &idle, &iowait);
	row("cpu=%u user=%u nice=%u system=%u iowait=%u irq=%u softirq=%u steal=%u idle=%u nr_running=%u ctxt=%llu "
	    "pid=%d comm=%s user_ns=%llu nice_ns=%llu system_ns=%llu iowait_ns=%llu irq_ns=%llu softirq_ns=%llu "
	    "steal_ns=%llu idle_ns=%llu guest_ns=%llu guest_nice_ns=%llu",
	    cpu, c->permille[USER], c->permille[NICE], c->permille[SYSTEM], c->permille[IOWAIT],
	    c->permille[IRQ], c->permille[SOFTIRQ], c->permille[STEAL], c->permille[IDLE],
	    c->nr_running, rq->nr_switches, curr->pid, curr->comm, times[USER], times[NICE],
	    times[SYSTEM], iowait, times[IRQ], times[SOFTIRQ], times[STEAL], idle,
	    stat[CPUTIME_GUEST], stat[CPUTIME_GUEST_NICE]);
}

// Tasks that want to run on a CPU, and do not.
static void check_starved(unsigned int cpu)
{
	const struct rq *rq = per_cpu_ptr(&runqueues, cpu);
	u64 clock = rq->clock;
	const struct task_struct *curr = rq->curr;
	unsigned int looked = 0;
	struct sched_entity *se;

	if (!bpf_core_field_exists(rq->cfs_tasks) ||
	    !bpf_core_field_exists(struct task_struct, sched_info) ||
	    !bpf_core_field_exists(struct sched_entity, cfs_rq) ||
	    !bpf_core_field_exists(struct cfs_rq, rq))
		return;
	list_for_each_entry (se, &((struct rq *)rq)->cfs_tasks, group_node) {
		const struct task_struct *p = container_of(se, struct task_struct, se);
		u64 queued = p->sched_info.last_queued;
		const struct cfs_rq *cfs_rq = se->cfs_rq;

		if (++looked > MAX_QUEUED)
			break;
		// It has gone to another CPU, whose queue is not this one's to follow.
		if (!cfs_rq || cfs_rq->rq != rq)
			break;
		if (p == curr || !queued || clock <= queued ||
		    clock - queued < starve_ms * NSEC_PER_MSEC)
			continue;
		if (bpf_core_field_exists(se->sched_delayed) && se->sched_delayed)
			continue;
		// Out of quota: told by the group.
		if (bpf_core_field_exists(cfs_rq->throttle_count) && cfs_rq->throttle_count > 0)
			continue;
		alarm_lasting(
			starved, p->pid, clock - queued, WARNING,
			"task waits for a CPU: pid=%d comm=%s wait_ms=%llu cpu=%u nr_running=%u, on it runs running=%d "
			"running_comm=%s",
			p->pid, p->comm, (clock - queued) / NSEC_PER_MSEC, cpu, rq->nr_running,
			curr->pid, curr->comm);
	}
}

static void check_heat(struct cpu *c, unsigned int cpu)
{
	if (!&thermal_state || !bpf_core_type_exists(struct thermal_state))
		return;

	const struct thermal_state *state = per_cpu_ptr(&thermal_state, cpu);
	unsigned long throttled = state->core_throttle.count + state->package_throttle.count;

	if (c->throttled && throttled > c->throttled)
		alarm(heat, cpu, WARNING,
		      "CPU is throttled by heat: cpu=%u times=%lu since_boot=%lu", cpu,
		      throttled - c->throttled, throttled);
	c->throttled = throttled;
}

static bool is_saturated(const struct cpu *c)
{
	return c->busy_average >= busy_permille && c->waiting_average >= waiting_permille;
}

// One alarm for each saturated CPU, or one in all if there is no other CPU that could help.
static void check_saturated(unsigned int online, unsigned int saturated_count, unsigned int most)
{
	const struct cpu *c = &cpus[most & (MAX_CPUS - 1)];
	u64 waiting = 0;
	unsigned int cpu;

	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		waiting += cpus[cpu].waiting_average;
		if (saturated_count == online || !is_saturated(&cpus[cpu]))
			continue;
		alarm(saturated, cpu, WARNING,
		      "CPU is saturated: cpu=%u busy_permille=%u waiting=%u, mostly runs pid=%d comm=%s",
		      cpu, cpus[cpu].busy_average, (cpus[cpu].waiting_average + 500) / 1000,
		      cpus[cpu].vote.pid, cpus[cpu].vote.comm);
	}
	if (online && saturated_count == online)
		alarm(saturated, ALL_CPUS, WARNING,
		      "all CPUs are saturated: cpus=%u waiting=%llu, most wait for cpu=%u, which mostly runs pid=%d "
		      "comm=%s",
		      online, (waiting + 500) / 1000, most, c->vote.pid, c->vote.comm);
}

// In no step with what the scheduler does once a second or a tenth of it, such as to keep real-time tasks from all of a CPU.
DETECTOR(cpu, .description = "what each CPU does with its time, and who waits for one",
	 .period_ms = 470)
{
	u64 mono = ktime_get(), now = estimate_clock(&clock, mono), steal = 0;
	unsigned int cpu, online = 0, saturated_count = 0, most = 0, robbed = 0;

	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		struct cpu *c = &cpus[cpu];

		cpu_look(c, cpu, mono, now);
		if (c->nr_running > 1)
			check_starved(cpu);
		check_heat(c, cpu);
		saturated_count += is_saturated(c);
		if (!online || c->waiting_average > cpus[most].waiting_average)
			most = cpu;
		if (!online || c->steal_average > cpus[robbed].steal_average)
			robbed = cpu;
		steal += c->steal_average;
		online++;
	}
	check_saturated(online, saturated_count, most);
	if (online && steal / online >= steal_permille)
		alarm(stolen, ALL_CPUS, WARNING,
		      "the hypervisor gives time to others: steal_permille=%llu of %u CPUs, most of cpu=%u steal=%u",
		      steal / online, online, robbed, cpus[robbed].steal_average);
	check_throttled();
	alarms_end(saturated);
	alarms_end(starved);
	alarms_end(stolen);
	alarms_end(heat);
}
