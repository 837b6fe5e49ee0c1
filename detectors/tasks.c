// SPDX-License-Identifier: Apache-2.0
// How many threads and pids there are of those that there may be, how fast they grow, and who forks.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "guest_clock.h"

PARAM(warning_percent, 80, "percent of the threads or pids that there may be, for a warning");
PARAM(critical_percent, 95,
      "percent of the threads or pids that there may be, for a critical finding");
PARAM(growth_per_s, 100,
      "more tasks each second than in the one before, at the fastest, for an explosion");
PARAM(growth_tasks, 500, "tasks by which they must have grown in all, for an explosion");
PARAM(forks_per_s, 2000, "forks a second that are too many, whatever becomes of them");

ALARMS(limit, 4, .fall_ms = 1000);
ALARMS(explosion, 4, .fall_ms = 3000);
ALARMS(fork_storm, 4, .rise_ms = 2000, .fall_ms = 2000);

// Conditions of one table.
#define KEY_THREADS 1
#define KEY_PIDS 2

// kernel/pid.c: once all numbers were taken, those that are free again below this are not.
#define RESERVED_PIDS 300

// Tasks younger than this show who forks, and all since their number began to grow.
#define YOUNG_NS (3 * NSEC_PER_SEC)
// Tasks that have not grown for so long begin anew.
#define CALM_NS (3 * NSEC_PER_SEC)
// Half of what there may be: an explosion is then no longer only a warning.
#define SERIOUS_PERCENT 50
// Who forks is looked for among so many.
#define FORKERS_MAX 1024
#define PROBES 16

// Who made new tasks, or the session that they belong to.
struct forker {
	u64 id;
	const struct task_struct *task;
	u32 count;
};

static struct forker parents[FORKERS_MAX], sessions[FORKERS_MAX];
// Who made most, once it has been looked for in this run.
static bool looked;
static struct forker top_parent, top_session;

static bool begun;
static u64 window_ns;
static int threads_before;
static u64 forks_before;
static u32 growth, fork_rate;
// How many there were before they began to grow, how fast they have since, and for how long they have not.
static int threads_base;
static u64 base_boottime;
static u32 peak;
static u64 calm_ns;

static void count(struct forker *table, struct forker *top, u64 id, const struct task_struct *task)
{
	u32 slot = (id >> 3) * 0x9e3779b97f4a7c15ULL >> 54;

	for (u32 i = 0; i < PROBES; i++) {
		struct forker *f = &table[(slot + i) & (FORKERS_MAX - 1)];

		if (f->id && f->id != id)
			continue;
		f->id = id;
		f->task = task;
		f->count++;
		if (f->count > top->count)
			*top = *f;
		return;
	}
}

// A process was made by its parent, a thread by its process. If none is young, all count: they came slowly.
static void count_since(u64 since)
{
	u32 sid = bpf_core_enum_value(enum pid_type, PIDTYPE_SID);
	struct task_struct *p, *t;

	__builtin_memset(parents, 0, sizeof(parents));
	__builtin_memset(sessions, 0, sizeof(sessions));
	top_parent = top_session = (struct forker){};
	for_each_process (p) {
		const struct pid *session = p->signal->pids[sid & 3];

		for_each_thread (p, t) {
			const struct task_struct *by = t == p ? p->real_parent : p;

			if (t->start_boottime < since)
				continue;
			count(parents, &top_parent, (u64)by, by);
			// Those of the kernel itself have none.
			if (session && pid_nr(session))
				count(sessions, &top_session, (u64)session, p);
		}
	}
}

static void look_who_forks(void)
{
	u64 now = ktime_get_boottime();

	if (looked)
		return;
	looked = true;
	count_since(min(now > YOUNG_NS ? now - YOUNG_NS : 0, base_boottime));
	if (!top_parent.count)
		count_since(0);
}

static int session_nr(const struct forker *f)
{
	u32 sid = bpf_core_enum_value(enum pid_type, PIDTYPE_SID);

	return f->task ? pid_nr(f->task->signal->pids[sid & 3]) : 0;
}

// Who forks, at the end of a message.
#define WHO "; most new ones: by pid=%d comm=%s count=%u, in session=%d comm2=%s count2=%u"
#define who()                                                                                      \
	top_parent.task ? top_parent.task->pid : 0, top_parent.task ? top_parent.task->comm : "-", \
		top_parent.count, session_nr(&top_session),                                        \
		top_session.task ? top_session.task->comm : "-", top_session.count

static void check_limit(u32 key, const char *what, u64 used, u64 most)
{
	u64 percent = most ? used * 100 / most : 0;

	if (percent < warning_percent)
		return;
	look_who_forks();
	alarm(limit, key, percent >= critical_percent ? CRITICAL : WARNING,
	      "%s run out: used=%llu of most=%llu percent=%llu" WHO, what, used, most, percent,
	      who());
}

static void check_pids(u64 pids, u64 pids_max)
{
	struct task_struct *p, *t;
	u64 low = 0, most = pids_max > RESERVED_PIDS ? pids_max - RESERVED_PIDS : 0;

	if (pids * 100 < most * warning_percent)
		return;
	for_each_process (p) {
		for_each_thread (p, t)
			low += t->pid < RESERVED_PIDS;
	}
	check_limit(KEY_PIDS, "pids", pids - min(low, pids), most);
}

static void check_growth(u64 most)
{
	u64 grown = nr_threads > threads_base ? nr_threads - threads_base : 0;
	u64 left = most > (u64)nr_threads ? most - nr_threads : 0;

	if (peak < growth_per_s || grown < growth_tasks)
		return;

	u32 rate = growth >= growth_per_s ? growth : peak;

	look_who_forks();
	alarm(explosion, KEY_THREADS,
	      (u64)nr_threads * 100 >= most * SERIOUS_PERCENT ? ERROR : WARNING,
	      "tasks multiply: threads=%d grown=%llu per_s=%u, seconds_left=%llu" WHO, nr_threads,
	      grown, rate, left / max(rate, 1U), who());
}

static void check_forks(void)
{
	if (fork_rate < forks_per_s)
		return;
	look_who_forks();
	alarm(fork_storm, KEY_THREADS, WARNING, "many forks: per_s=%u threads=%d" WHO, fork_rate,
	      nr_threads, who());
}

// Rates over half a second at least: of what the system did in time that it had.
static void measure(u64 step)
{
	u64 forks = total_forks;
	int threads = nr_threads;

	window_ns += step;
	if (!begun) {
		begun = true;
		threads_base = threads;
		base_boottime = ktime_get_boottime();
	} else if (window_ns < NSEC_PER_SEC / 2) {
		return;
	} else {
		u64 more = threads > threads_before ? threads - threads_before : 0;

		growth = more * NSEC_PER_SEC / window_ns;
		fork_rate = (forks - forks_before) * NSEC_PER_SEC / window_ns;
	}
	// What no longer grows begins anew. Whatever makes tasks faster than the machine can run them grows by fits and starts.
	calm_ns = growth < growth_per_s / 2 ? calm_ns + window_ns : 0;
	peak = max(peak, growth);
	if (calm_ns >= CALM_NS || threads < threads_base) {
		threads_base = threads;
		base_boottime = ktime_get_boottime();
		peak = 0;
	}
	threads_before = threads;
	forks_before = forks;
	window_ns = 0;
}

DETECTOR(tasks, .description = "threads and pids, their limits, and who forks", .period_ms = 500)
{
	u64 threads = nr_threads, threads_max = max_threads;
	u64 pids = init_pid_ns.pid_allocated & ~PIDNS_ADDING;
	u64 pids_max = bpf_core_field_exists(struct pid_namespace, pid_max) ? init_pid_ns.pid_max
		       : &pid_max					    ? pid_max
									    : 0;
	u64 step = guest_step();

	if (panic_cpu != PANIC_CPU_INVALID)
		return;
	looked = false;
	measure(step);
	check_limit(KEY_THREADS, "threads", threads, threads_max);
	check_pids(pids, pids_max);
	check_growth(pids_max ? min(threads_max, pids_max) : threads_max);
	check_forks();
	alarms_end(limit);
	alarms_end(explosion);
	alarms_end(fork_storm);
	row("threads=%llu threads_max=%llu pids=%llu pid_max=%llu forks=%lu forks_per_s=%u growth_per_s=%u",
	    threads, threads_max, pids, pids_max, total_forks, fork_rate, growth);
}
