// SPDX-License-Identifier: Apache-2.0
// Tasks in uninterruptible sleep for too long, what they wait for, and who has it.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "guest_clock.h"

PARAM(limit_ms, 10000, "milliseconds that a task may wait in state D");
PARAM(error_ms, 120000, "milliseconds from which on it is an error; the kernel's own limit");

ALARMS(hung_task, 128, .fall_ms = 1000);
ALARMS(deadlock, 32, .fall_ms = 1000);

// Tasks in state D that are followed: a system that is stuck has many.
#define SLEEPERS_MAX 1024
// Owners of locks, from one that waits to the one that does not.
#define CHAIN_MAX 64
// Bytes of a function in which a wait is no fault, at most.
#define FUNCTION_MAX 0x400

// A parent waits here until its child has done vfork() and exec.
extern char kernel_clone[] __ksym __weak;
// Until v6.1 a frozen task was in state D: of a control group, or while the system suspends.
extern char __refrigerator[] __ksym __weak;

// A task in state D, in the order of the task list.
struct sleeper {
	struct task_struct *task;
	u64 start;
	u64 switches;
	u64 waited_ns;
	// What follows is known once it has waited for too long: it does not change as long as it sleeps.
	bool judged, harmless;
	struct lock_wait wait;
	struct stack_trace trace;
};

static struct sleeper sleepers[2][SLEEPERS_MAX];
static u32 sleeper_count[2];
static u32 current;
// Of the last run: where the next task is looked for first, as they come in the same order.
static u32 hint;
static u32 left_out;
// Of those that wait for a lock for too long: by task, the place in the table plus 1.
#define BLOCKED_SLOTS 2048U
static u16 blocked[BLOCKED_SLOTS];

static u64 msecs(u64 ns)
{
	return ns / NSEC_PER_MSEC;
}

static const struct sleeper *find_before(const struct task_struct *p)
{
	const struct sleeper *before = sleepers[current ^ 1];
	u32 count = sleeper_count[current ^ 1];

	for (u32 i = 0; i < count; i++) {
		u32 at = hint < count ? hint : 0;

		hint = at + 1;
		if (before[at & (SLEEPERS_MAX - 1)].task == p)
			return &before[at & (SLEEPERS_MAX - 1)];
	}
	return NULL;
}

static bool is_in(unsigned long ip, const char *function)
{
	return function && ip - (unsigned long)function < FUNCTION_MAX;
}

// Where it stands, for what, and whether that is a fault at all.
static void judge(struct sleeper *s)
{
	struct stack_trace *trace = &s->trace;

	s->judged = true;
	stack_trace_save_tsk(s->task, trace);
	for (u32 i = 0; i < trace->nr && i < SCHED_FUNCTIONS_MAX; i++)
		s->harmless |= is_in(trace->entries[i], __refrigerator);
	stack_trace_skip_sched(trace);
	s->harmless |= is_in(trace->entries[0], kernel_clone);
	find_lock(s->task, trace, &s->wait);
}

static void look(struct task_struct *p, u64 step)
{
	u64 switches = p->nvcsw + p->nivcsw, start = p->start_boottime;
	const struct sleeper *before = find_before(p);
	u32 n = sleeper_count[current];

	if (n >= SLEEPERS_MAX) {
		left_out++;
		return;
	}

	struct sleeper *s = &sleepers[current][n];

	sleeper_count[current] = n + 1;
	if (before && before->switches == switches && before->start == start) {
		*s = *before;
		s->waited_ns += step;
		return;
	}
	*s = (struct sleeper){ .task = p, .start = start, .switches = switches };
}

static const char *lock_name(const struct lock_wait *wait, bool reader)
{
	if (wait->kind == LOCK_MUTEX)
		return "mutex";
	return reader ? "rwsem of readers" : "rwsem";
}

static u32 blocked_slot(const struct task_struct *p)
{
	return ((u64)p >> 6) * 0x9e3779b97f4a7c15ULL >> 53;
}

#define BLOCKED_PROBES 32

static void blocked_add(u32 n)
{
	u32 slot = blocked_slot(sleepers[current][n].task);

	for (u32 i = 0; i < BLOCKED_PROBES; i++) {
		u32 at = (slot + i) & (BLOCKED_SLOTS - 1);

		if (!blocked[at]) {
			blocked[at] = n + 1;
			return;
		}
	}
}

// The entry of a task that waits for a lock for too long; NULL if @p is none.
static const struct sleeper *blocked_find(const struct task_struct *p)
{
	u32 slot = blocked_slot(p);

	for (u32 i = 0; i < BLOCKED_PROBES; i++) {
		u32 n = blocked[(slot + i) & (BLOCKED_SLOTS - 1)];

		if (!n)
			return NULL;

		const struct sleeper *s = &sleepers[current][(n - 1) & (SLEEPERS_MAX - 1)];

		if (s->task == p)
			return s;
	}
	return NULL;
}

// From one owner to the next: the last of them, and how many. @return the first task that comes twice, or NULL.
static const struct sleeper *follow(const struct sleeper *s, struct task_struct **root, u32 *length)
{
	const struct sleeper *slow = s, *start = s;
	bool reader;

	*length = 0;
	*root = NULL;
	for (u32 i = 0; s && i < CHAIN_MAX; i++) {
		struct task_struct *owner = lock_owner(&s->wait, &reader);

		// One reader of several may be another one than that which is in the way.
		if (!owner)
			break;
		*root = owner;
		*length += 1;
		s = reader ? NULL : blocked_find(owner);
		// Brent's way to find a cycle.
		if (s && (s == start || s == slow))
			return s;
		if ((i & (i + 1)) == 0)
			slow = s;
	}
	return NULL;
}

static struct task_struct *owner_of(const struct task_struct *p)
{
	const struct sleeper *s = blocked_find(p);
	bool reader;

	return s ? lock_owner(&s->wait, &reader) : NULL;
}

// Told once, by the task of the lowest pid in it.
static void tell_deadlock(const struct sleeper *s)
{
	const struct task_struct *first = s->task, *p = s->task;
	u32 tasks = 0;

	for (; p && tasks < CHAIN_MAX; tasks++) {
		if (p->pid < first->pid)
			first = p;
		p = owner_of(p);
		if (p == s->task) {
			tasks++;
			break;
		}
	}
	// It may have ended while it was looked at.
	const struct sleeper *lock = blocked_find(first);
	const struct task_struct *second = owner_of(first),
				 *third = second ? owner_of(second) : NULL;

	if (p != s->task || !lock || !second || !third)
		return;
	if (tasks == 1)
		alarm_lasting(
			deadlock, first->pid, lock->waited_ns, CRITICAL,
			"a task waits for a lock that it holds: pid=%d comm=%s lock=%pS in=%pS",
			first->pid, first->comm, (void *)lock->wait.lock,
			(void *)lock->trace.entries[0]);
	else if (tasks == 2)
		alarm_lasting(deadlock, first->pid, lock->waited_ns, CRITICAL,
			      "tasks wait for each other: pid=%d comm=%s lock=%pS in=%pS, pid2=%d "
			      "comm2=%s lock2=%pS",
			      first->pid, first->comm, (void *)lock->wait.lock,
			      (void *)lock->trace.entries[0], second->pid, second->comm,
			      (void *)blocked_find(second)->wait.lock);
	else
		alarm_lasting(
			deadlock, first->pid, lock->waited_ns, CRITICAL,
			"tasks wait in a circle: tasks=%u pid=%d comm=%s lock=%pS in=%pS, pid2=%d "
			"comm2=%s, pid3=%d comm3=%s",
			tasks, first->pid, first->comm, (void *)lock->wait.lock,
			(void *)lock->trace.entries[0], second->pid, second->comm, third->pid,
			third->comm);
}

#define STACK_IN_MESSAGE 4

static void tell(struct sleeper *s)
{
	enum severity severity = msecs(s->waited_ns) >= error_ms ? ERROR : WARNING;
	const struct task_struct *p = s->task;
	struct task_struct *root = NULL, *owner = NULL;
	bool reader = false;
	u32 chain = 0;

	owner = lock_owner(&s->wait, &reader);
	follow(s, &root, &chain);
	if (owner && root) {
#define TELL_OWNER(stack, ...)                                                                   \
	alarm_lasting(                                                                           \
		hung_task, p->pid, s->waited_ns, severity,                                       \
		"pid=%d comm=%s waited_ms=%llu for a %s lock=%pS held by owner_pid=%d "          \
		"owner_comm=%s owner_state=%c, chain=%u root_pid=%d root_comm=%s, stack=" stack, \
		p->pid, p->comm, msecs(s->waited_ns), lock_name(&s->wait, reader),               \
		(void *)s->wait.lock, owner->pid, owner->comm, task_state_to_char(owner), chain, \
		root->pid, root->comm, ##__VA_ARGS__)
		with_stack(&s->trace, STACK_IN_MESSAGE, TELL_OWNER);
	} else {
#define TELL(stack, ...)                                                                         \
	alarm_lasting(hung_task, p->pid, s->waited_ns, severity,                                 \
		      "pid=%d comm=%s waited_ms=%llu in state D, stack=" stack, p->pid, p->comm, \
		      msecs(s->waited_ns), ##__VA_ARGS__)
		with_stack(&s->trace, STACK_IN_MESSAGE, TELL);
	}
}

static void walk(u64 step)
{
	struct task_struct *p, *t;

	hint = 0;
	left_out = 0;
	sleeper_count[current] = 0;
	for_each_process (p) {
		for_each_thread (p, t) {
			unsigned int state = task_state(t);

			if ((state & TASK_UNINTERRUPTIBLE) &&
			    !(state & (TASK_NOLOAD | TASK_FROZEN)) && !t->exit_state)
				look(t, step);
		}
	}
}

DETECTOR(hung_task, .description = "tasks that wait in state D for too long", .period_ms = 500)
{
	u64 step = guest_step(), limit_ns = limit_ms * NSEC_PER_MSEC;
	struct task_struct *root;
	u32 hung = 0, length;

	// A dead system's tasks wait for good.
	if (panic_cpu != PANIC_CPU_INVALID)
		return;
	current ^= 1;
	walk(step);

	u32 count = min(sleeper_count[current], (u32)SLEEPERS_MAX);

	for (u32 i = 0; i < count; i++) {
		struct sleeper *s = &sleepers[current][i];

		if (s->waited_ns < limit_ns)
			continue;
		if (!s->judged)
			judge(s);
		if (s->harmless || task_state(s->task) == 0)
			continue;
		if (s->wait.lock) {
			if (!hung)
				__builtin_memset(blocked, 0, sizeof(blocked));
			blocked_add(i);
			hung++;
		}
	}
	for (u32 i = 0; i < count; i++) {
		struct sleeper *s = &sleepers[current][i];

		if (!s->judged || s->harmless || s->waited_ns < limit_ns)
			continue;
		tell(s);
		row("pid=%d comm=%s waited_ms=%llu at=%pS lock=%pS", s->task->pid, s->task->comm,
		    msecs(s->waited_ns), (void *)s->trace.entries[0], (void *)s->wait.lock);
		if (!s->wait.lock)
			continue;

		const struct sleeper *twice = follow(s, &root, &length);

		if (twice)
			tell_deadlock(twice);
	}
	// The pid of no task.
	if (left_out)
		alarm(hung_task, 0, WARNING, "more tasks in state D than can be followed: tasks=%u",
		      count + left_out);
	alarms_end(hung_task);
	alarms_end(deadlock);
}
