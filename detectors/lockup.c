// SPDX-License-Identifier: Apache-2.0
// CPUs that have stopped to take interrupts (hard lockup) or to change tasks (soft lockup), and a system in which
// nothing goes on.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define NSEC_PER_MSEC 1000000ULL

PARAM(limit_ms, 500, "milliseconds that a CPU may be late, or keep a task that is to make way");

// Of these, a CPU each, and of a system in which nothing goes on.
ALARMS(hard_lockup, 256, .fall_ms = 1000);
ALARMS(soft_lockup, 256, .fall_ms = 1000);
ALARMS(standstill, 1, .fall_ms = 1000);

#define LIMIT_NS (limit_ms * NSEC_PER_MSEC)
// Runs in a row: a single look may fall into an update of the kernel's clock, or into the moment in which a paused
// virtual machine goes on and one of its CPUs is first.
#define CONFIRM_RUNS 3
// What the time between two runs counts for at most: this program may have been stopped together with the system.
#define STEP_MAX_NS (250 * NSEC_PER_MSEC)
// An idle CPU may sleep until its next timer. If it is the only one that does not show that the system has stopped,
// its word counts this long; the kernel's own watchdog wakes it every 4 s.
#define SLEEP_MAX_NS (5000 * NSEC_PER_MSEC)
// CONFIG_NR_CPUS of MAXSMP kernels.
#define MAX_CPUS 8192U

struct cpu {
	// The run before was in this era of the system, and saw what follows.
	u32 era;
	bool idle;
	bool moved;
	struct task_struct *curr;
	u64 nr_switches;
	u64 clock;
	s64 next_event;
	// Since something of it last moved: the kernel's clock then; the engine's time, and that with the kernel's
	// clock stuck while others went on; runs in which it was late by half of the limit.
	s64 moved_at;
	u64 still_ns;
	u64 others_ns;
	u32 late_runs;
	// Since it was first seen to keep a task that should make way for another: its clock, and runs.
	u64 held_clock;
	u32 held_runs;
};

static struct cpu cpus[MAX_CPUS];
// Begins anew where times of before mean nothing: 0 is none.
static u32 era;
static bool running;
static u64 last_run_ns;
static u64 jiffies_seen;
static s64 mono_seen;
// How long nothing at all has moved.
static u64 standstill_ns;

static u64 msecs(u64 ns)
{
	return ns / NSEC_PER_MSEC;
}

// What a CPU shows now; true if something of it has moved since the run before.
static bool cpu_look(struct cpu *c, unsigned int cpu, s64 mono)
{
	const struct rq *rq = per_cpu_ptr(&runqueues, cpu);
	struct task_struct *curr = rq->curr;
	u64 nr_switches = rq->nr_switches, clock = rq->clock;
	s64 next_event = tick_next_event(cpu);
	bool need_resched = cpu_need_resched(cpu);

	bool switched = c->era != era || c->curr != curr || c->nr_switches != nr_switches;
	// Other CPUs update the clock as well, and nobody else the next event. A periodic timer has none.
	bool ticked = c->next_event != next_event || (next_event == 0 && c->clock != clock);

	c->moved = switched || ticked;
	if (switched || !need_resched)
		c->held_runs = 0;
	else if (ticked && c->held_runs < CONFIRM_RUNS)
		c->held_runs++;
	if (c->held_runs == 0)
		c->held_clock = clock;
	if (c->moved) {
		c->moved_at = mono;
		c->others_ns = 0;
		c->late_runs = 0;
	}
	c->era = era;
	c->curr = curr;
	c->idle = curr == rq->idle;
	c->nr_switches = nr_switches;
	c->clock = clock;
	c->next_event = next_event;
	row("cpu=%u pid=%d comm=%s idle=%d nr_running=%u need_resched=%d clock_ns=%llu next_event_ns=%lld",
	    cpu, curr->pid, curr->comm, c->idle, rq->nr_running, need_resched, clock, next_event);
	return c->moved;
}

// Nanoseconds that the CPU may stand still from when it last moved.
static u64 cpu_patience(const struct cpu *c)
{
	return c->next_event > c->moved_at ? (u64)c->next_event - (u64)c->moved_at : 0;
}

// The same; without any timer a CPU may sleep for so long.
static u64 cpu_sleep(const struct cpu *c)
{
	return c->next_event == KTIME_MAX ? SLEEP_MAX_NS : cpu_patience(c);
}

// Nanoseconds for which the CPU's timer has been due, by the clock that the others keep.
static u64 cpu_late(const struct cpu *c, s64 mono)
{
	u64 passed = c->others_ns + (mono > c->moved_at ? (u64)mono - (u64)c->moved_at : 0);
	u64 patience = cpu_patience(c);

	return c->next_event != KTIME_MAX && passed > patience ? passed - patience : 0;
}

// The same by the engine's clock, of a CPU that is at work: a timer of such a one is never put off. No other CPU has to
// wake for that, but a virtual machine that is paused shows it as well.
static u64 cpu_overdue(const struct cpu *c)
{
	u64 patience = cpu_patience(c);

	return !c->idle && c->next_event != KTIME_MAX && c->still_ns > patience
		       ? c->still_ns - patience
		       : 0;
}

// It has moved just now, or sleeps until its next timer.
static bool cpu_well(const struct cpu *c)
{
	u64 patience = cpu_sleep(c);

	return c->still_ns < LIMIT_NS / 2 || (c->idle && c->still_ns < patience + LIMIT_NS / 2);
}

// Without one, it is the system that stands still.
static bool any_cpu_well(void)
{
	unsigned int cpu;

	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		if (cpu_well(&cpus[cpu]))
			return true;
	}
	return false;
}

static void check_hard(struct cpu *c, unsigned int cpu, s64 mono, bool others_well)
{
	u64 late = cpu_late(c, mono), overdue = cpu_overdue(c);

	c->late_runs += max(late, overdue) >= LIMIT_NS / 2 && c->late_runs < CONFIRM_RUNS;
	if (c->late_runs < CONFIRM_RUNS)
		return;

	bool sure = late >= LIMIT_NS;

	if (!sure && (overdue < LIMIT_NS || !others_well))
		return;

	enum severity severity = sure || !on_hypervisor() ? CRITICAL : WARNING;
	const char *doubt =
		severity == WARNING ? ", or the hypervisor has paused this virtual machine" : "";
	void *function = kthread_function(c->curr);

	late = max(late, overdue);
	if (function)
		alarm_lasting(
			hard_lockup, cpu, late, severity,
			"hard lockup: cpu=%u has taken no timer interrupt for %llu ms, pid=%d comm=%s, a kernel "
			"thread of %pS%s",
			cpu, msecs(late), c->curr->pid, c->curr->comm, function, doubt);
	else
		alarm_lasting(
			hard_lockup, cpu, late, severity,
			"hard lockup: cpu=%u has taken no timer interrupt for %llu ms, pid=%d comm=%s%s",
			cpu, msecs(late), c->curr->pid, c->curr->comm, doubt);
}

static void check_soft(struct cpu *c, unsigned int cpu)
{
	u64 held = c->clock > c->held_clock ? c->clock - c->held_clock : 0;

	if (c->idle || c->held_runs < CONFIRM_RUNS || held < LIMIT_NS)
		return;

	unsigned int waiting = per_cpu_ptr(&runqueues, cpu)->nr_running;
	void *function = kthread_function(c->curr);

	waiting -= waiting > 0;
	if (function)
		alarm_lasting(
			soft_lockup, cpu, held, WARNING,
			"soft lockup: cpu=%u has not changed tasks for %llu ms, waiting=%u, pid=%d comm=%s, a kernel "
			"thread of %pS",
			cpu, msecs(held), waiting, c->curr->pid, c->curr->comm, function);
	else
		alarm_lasting(
			soft_lockup, cpu, held, WARNING,
			"soft lockup: cpu=%u has not changed tasks for %llu ms, waiting=%u, pid=%d comm=%s",
			cpu, msecs(held), waiting, c->curr->pid, c->curr->comm);
}

// Nothing moves, and no CPU has a reason left. Sets @ret to one that should have moved.
static bool system_stands(unsigned int *ret)
{
	bool due = false, busy = false;
	unsigned int cpu;

	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		const struct cpu *c = &cpus[cpu];
		u64 patience = cpu_sleep(c);

		if (standstill_ns < min(patience, SLEEP_MAX_NS) + LIMIT_NS)
			return false;
		if (standstill_ns < patience + LIMIT_NS || c->next_event == KTIME_MAX)
			continue;
		if (!due || (!busy && !c->idle))
			*ret = cpu;
		due = true;
		busy |= !c->idle;
	}
	return due;
}

static void check_standstill(void)
{
	unsigned int cpu = 0;

	if (!system_stands(&cpu))
		return;

	const struct task_struct *curr = cpus[cpu & (MAX_CPUS - 1)].curr;

	if (on_hypervisor())
		alarm_lasting(
			standstill, 0, standstill_ns, WARNING,
			"system stands still: for %llu ms no CPU has done anything, cpu=%u pid=%d comm=%s; a frozen "
			"kernel, or the hypervisor has paused this virtual machine",
			msecs(standstill_ns), cpu, curr->pid, curr->comm);
	else
		alarm_lasting(
			standstill, 0, standstill_ns, CRITICAL,
			"system stands still: for %llu ms no CPU has done anything, cpu=%u pid=%d comm=%s",
			msecs(standstill_ns), cpu, curr->pid, curr->comm);
}

// Times of before a boot, a suspend or the first run mean nothing.
static bool comparable(void)
{
	bool runs = system_state == bpf_core_enum_value(enum system_states, SYSTEM_RUNNING) &&
		    !(&timekeeping_suspended && timekeeping_suspended);

	if (runs && !running) {
		era++;
		standstill_ns = 0;
	}
	running = runs;
	return runs && panic_cpu == PANIC_CPU_INVALID;
}

DETECTOR(lockup, .description = "CPUs and systems that stand still", .period_ms = 100)
{
	u64 now = now_ns();
	u64 step = min(now - last_run_ns, STEP_MAX_NS);
	bool judge = comparable();
	s64 mono = ktime_get();
	bool progress = jiffies_64 != jiffies_seen || mono != mono_seen;
	bool clock_stuck = mono == mono_seen;
	unsigned int cpu;

	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		progress |= cpu_look(&cpus[cpu], cpu, mono);
	}
	standstill_ns = progress ? 0 : standstill_ns + step;
	for_each_online_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		cpus[cpu].still_ns = cpus[cpu].moved ? 0 : cpus[cpu].still_ns + step;
	}
	jiffies_seen = jiffies_64;
	mono_seen = mono;
	last_run_ns = now;
	if (!judge)
		return;

	bool others_well = any_cpu_well();

	for_each_possible_cpu (cpu) {
		if (cpu >= MAX_CPUS)
			break;
		struct cpu *c = &cpus[cpu];

		if (!cpumask_test_cpu(cpu, __cpu_online_mask)) {
			c->era = 0;
			continue;
		}
		if (progress && clock_stuck && !c->moved)
			c->others_ns += step;
		check_hard(c, cpu, mono, others_well);
		check_soft(c, cpu);
	}
	check_standstill();
	alarms_end(hard_lockup);
	alarms_end(soft_lockup);
	alarms_end(standstill);
}
