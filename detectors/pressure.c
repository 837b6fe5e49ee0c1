// SPDX-License-Identifier: Apache-2.0
// How much tasks wait for CPU, memory and I/O: pressure stall information, load, reclaim and swap.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "estimate.h"

// Longer than a system may have slept or been paused: rates are then of little use, and are left out.
#define GAP_MAX_NS (10 * NSEC_PER_SEC)

PARAM(cpu_some_percent, 80, "of 10 s in which some task had to wait for a CPU");
PARAM(memory_some_percent, 20, "of 10 s in which some task had to wait for memory");
PARAM(memory_full_percent, 10, "of 10 s in which all tasks had to wait for memory");
PARAM(io_some_percent, 80, "of 10 s in which some task had to wait for I/O");
PARAM(io_full_percent, 60, "of 10 s in which all tasks had to wait for I/O");
PARAM(load_percent, 400, "load of the last minute, in percent of the CPUs that are online");
PARAM(swap_pages_per_s, 2500, "pages moved to and from swap in a second");
PARAM(allocstall_per_s, 50,
      "times in a second that tasks had to free memory before they could have any");

ALARMS(stalled, 8, .rise_ms = 0, .fall_ms = 5000);
ALARMS(loaded, 1, .rise_ms = 0, .fall_ms = 5000);
ALARMS(thrash, 2, .rise_ms = 2000, .fall_ms = 5000);

enum resource { CPU, MEMORY, IO, IRQ };

// Of the events that are shown.
enum event {
	EVENT_PSWPIN,
	EVENT_PSWPOUT,
	EVENT_PGMAJFAULT,
	EVENT_PGSCAN_KSWAPD,
	EVENT_PGSCAN_DIRECT,
	EVENT_PGSTEAL_KSWAPD,
	EVENT_PGSTEAL_DIRECT,
	EVENT_ALLOCSTALL,
	EVENT_OOM_KILL,
	EVENTS,
};

enum vm_event_item___rates {
	PSWPIN,
	PSWPOUT,
	PGMAJFAULT,
	ALLOCSTALL_DMA,
	ALLOCSTALL_DMA32,
	ALLOCSTALL_NORMAL,
	ALLOCSTALL_MOVABLE,
	ALLOCSTALL_DEVICE,
	PGSCAN_KSWAPD,
	PGSCAN_DIRECT,
	PGSTEAL_KSWAPD,
	PGSTEAL_DIRECT,
};

static struct estimate clock;
static u64 totals[EVENTS], rates[EVENTS];
static u64 totals_at;

#define vm_event_of(item)                                                           \
	(bpf_core_enum_value_exists(enum vm_event_item___rates, item)               \
		 ? vm_events(bpf_core_enum_value(enum vm_event_item___rates, item)) \
		 : 0)

// Counters of reclaim belong to nodes since 7.x. Before that, they are events of CPUs.
enum reclaim { SCAN_KSWAPD, SCAN_DIRECT, STEAL_KSWAPD, STEAL_DIRECT };

static u64 reclaim_of_nodes(enum reclaim which)
{
	// C gives a name to one enumerator in a scope: here they are those of nodes.
	enum node_stat_item___reclaim {
		PGSCAN_KSWAPD,
		PGSCAN_DIRECT,
		PGSTEAL_KSWAPD,
		PGSTEAL_DIRECT,
	};
#define node_stat_of(item)                                                                     \
	(bpf_core_enum_value_exists(enum node_stat_item___reclaim, item)                       \
		 ? max(vm_node_stat[bpf_core_enum_value(enum node_stat_item___reclaim, item)], \
		       (s64)0)                                                                 \
		 : 0)

	switch (which) {
	case SCAN_KSWAPD:
		return node_stat_of(PGSCAN_KSWAPD);
	case SCAN_DIRECT:
		return node_stat_of(PGSCAN_DIRECT);
	case STEAL_KSWAPD:
		return node_stat_of(PGSTEAL_KSWAPD);
	case STEAL_DIRECT:
		return node_stat_of(PGSTEAL_DIRECT);
	}
	return 0;
#undef node_stat_of
}

static void read_events(u64 *events)
{
	events[EVENT_PSWPIN] = vm_event_of(PSWPIN);
	events[EVENT_PSWPOUT] = vm_event_of(PSWPOUT);
	events[EVENT_PGMAJFAULT] = vm_event_of(PGMAJFAULT);
	events[EVENT_PGSCAN_KSWAPD] = vm_event_of(PGSCAN_KSWAPD) + reclaim_of_nodes(SCAN_KSWAPD);
	events[EVENT_PGSCAN_DIRECT] = vm_event_of(PGSCAN_DIRECT) + reclaim_of_nodes(SCAN_DIRECT);
	events[EVENT_PGSTEAL_KSWAPD] = vm_event_of(PGSTEAL_KSWAPD) + reclaim_of_nodes(STEAL_KSWAPD);
	events[EVENT_PGSTEAL_DIRECT] = vm_event_of(PGSTEAL_DIRECT) + reclaim_of_nodes(STEAL_DIRECT);
	events[EVENT_ALLOCSTALL] = vm_event_of(ALLOCSTALL_DMA) + vm_event_of(ALLOCSTALL_DMA32) +
				   vm_event_of(ALLOCSTALL_NORMAL) +
				   vm_event_of(ALLOCSTALL_MOVABLE) + vm_event_of(ALLOCSTALL_DEVICE);
	events[EVENT_OOM_KILL] = vm_events(bpf_core_enum_value(enum vm_event_item, OOM_KILL));
}

static void update_rates(void)
{
	u64 events[EVENTS], now = now_ns(), passed = now - totals_at;
	bool known = run_count() && passed && passed < GAP_MAX_NS;

	read_events(events);
	for (unsigned int i = 0; i < EVENTS; i++) {
		u64 delta = events[i] > totals[i] ? events[i] - totals[i] : 0;

		// By milliseconds, so that nothing overflows.
		rates[i] = known ? delta * 1000 / max(passed / 1000000, (u64)1) : 0;
		totals[i] = events[i];
	}
	totals_at = now;
}

#define show_event(name, which) \
	row("event=%s total=%llu per_s=%llu", name, totals[which], rates[which])

static void show_events(void)
{
	show_event("pswpin", EVENT_PSWPIN);
	show_event("pswpout", EVENT_PSWPOUT);
	show_event("pgmajfault", EVENT_PGMAJFAULT);
	show_event("pgscan_kswapd", EVENT_PGSCAN_KSWAPD);
	show_event("pgscan_direct", EVENT_PGSCAN_DIRECT);
	show_event("pgsteal_kswapd", EVENT_PGSTEAL_KSWAPD);
	show_event("pgsteal_direct", EVENT_PGSTEAL_DIRECT);
	show_event("allocstall", EVENT_ALLOCSTALL);
	show_event("oom_kill", EVENT_OOM_KILL);
}

// Two decimals, which /proc cuts off.
static double decimals(unsigned long fixed)
{
	return (fixed * 100 >> FSHIFT) / 100.0;
}

// Tasks that wait for memory right now, and the largest of them.
static void find_memstall(struct task_struct **largest, unsigned int *count)
{
	unsigned int flag = 1U << (bpf_core_enum_value(enum psi_task_count, NR_MEMSTALL) & 31);
	unsigned long most = 0;
	struct task_struct *p, *t;

	*largest = NULL;
	*count = 0;
	if (!bpf_core_field_exists(struct task_struct___psi, psi_flags))
		return;
	for_each_process (p) {
		for_each_thread (p, t) {
			struct mm_struct *mm = t->mm;

			if (!(((const struct task_struct___psi *)t)->psi_flags & flag))
				continue;
			++*count;

			unsigned long rss = mm ? get_mm_rss(mm) : 0;

			if (!*largest || rss > most) {
				*largest = t;
				most = rss;
			}
		}
	}
}

static void check_memory(const struct psi_view *v)
{
	unsigned long some =
		v->avg[bpf_core_enum_value(enum psi_states, PSI_MEM_SOME) % PSI_STATES_MAX][0];
	unsigned long full =
		v->avg[bpf_core_enum_value(enum psi_states, PSI_MEM_FULL) % PSI_STATES_MAX][0];
	struct task_struct *largest;
	unsigned int count;

	if (some < memory_some_percent << FSHIFT && full < memory_full_percent << FSHIFT)
		return;
	find_memstall(&largest, &count);
	if (largest)
		alarm(stalled, MEMORY, WARNING,
		      "tasks wait for memory: some_percent=%lu full_percent=%lu of 10 s, now tasks=%u, the largest of "
		      "them pid=%d comm=%s",
		      some >> FSHIFT, full >> FSHIFT, count, largest->pid, largest->comm);
	else
		alarm(stalled, MEMORY, WARNING,
		      "tasks wait for memory: some_percent=%lu full_percent=%lu of 10 s",
		      some >> FSHIFT, full >> FSHIFT);
}

// The CPU with the most tasks that want to run, and what runs there.
static void check_cpu(const struct psi_view *v)
{
	unsigned long some =
		v->avg[bpf_core_enum_value(enum psi_states, PSI_CPU_SOME) % PSI_STATES_MAX][0];
	unsigned int cpu, most = 0, nr_running = 0;

	if (some < cpu_some_percent << FSHIFT)
		return;
	for_each_online_cpu (cpu) {
		unsigned int running = per_cpu_ptr(&runqueues, cpu)->nr_running;

		if (running >= nr_running) {
			most = cpu;
			nr_running = running;
		}
	}

	const struct task_struct *curr = per_cpu_ptr(&runqueues, most)->curr;

	alarm(stalled, CPU, WARNING,
	      "tasks wait for a CPU: some_percent=%lu of 10 s, most of them for cpu=%u nr_running=%u, on which runs "
	      "pid=%d comm=%s",
	      some >> FSHIFT, most, nr_running, curr->pid, curr->comm);
}

// A task that sleeps for I/O: of the CPU that most of them have left last.
static void check_io(const struct psi_view *v)
{
	unsigned long some =
		v->avg[bpf_core_enum_value(enum psi_states, PSI_IO_SOME) % PSI_STATES_MAX][0];
	unsigned long full =
		v->avg[bpf_core_enum_value(enum psi_states, PSI_IO_FULL) % PSI_STATES_MAX][0];
	struct task_struct *p, *t, *found = NULL;
	unsigned int count = 0;

	if (some < io_some_percent << FSHIFT && full < io_full_percent << FSHIFT)
		return;
	for_each_process (p) {
		for_each_thread (p, t) {
			if (task_state_to_char(t) != 'D')
				continue;
			count++;
			found = t;
		}
	}
	if (found)
		alarm(stalled, IO, WARNING,
		      "tasks wait for I/O: some_percent=%lu full_percent=%lu of 10 s, in state D now tasks=%u, of them "
		      "pid=%d comm=%s",
		      some >> FSHIFT, full >> FSHIFT, count, found->pid, found->comm);
	else
		alarm(stalled, IO, WARNING,
		      "tasks wait for I/O: some_percent=%lu full_percent=%lu of 10 s",
		      some >> FSHIFT, full >> FSHIFT);
}

#define show_psi(v, resource, kind, state)                                                         \
	do {                                                                                       \
		unsigned int __s = bpf_core_enum_value(enum psi_states, state) % PSI_STATES_MAX;   \
                                                                                                   \
		if (bpf_core_enum_value_exists(enum psi_states, state))                            \
			row("resource=%s kind=%s avg10=%.2f avg60=%.2f avg300=%.2f total_us=%llu", \
			    resource, kind, decimals((v)->avg[__s][0]),                            \
			    decimals((v)->avg[__s][1]), decimals((v)->avg[__s][2]),                \
			    (v)->total[__s] / 1000);                                               \
	} while (0)

static u64 rq_clock(void)
{
	u64 latest = 0;
	unsigned int cpu;

	for_each_online_cpu (cpu)
		latest = max(latest, per_cpu_ptr(&runqueues, cpu)->clock);
	return latest;
}

static void show_pressure(void)
{
	struct psi_view v;
	bool enabled = &psi_system && &psi_disabled && !psi_disabled &&
		       bpf_core_type_exists(struct psi_group);

	row("pressure_measured=%d", enabled);
	if (!enabled)
		return;
	psi_view(&psi_system, estimate_clock(&clock, rq_clock()), &v);
	show_psi(&v, "cpu", "some", PSI_CPU_SOME);
	// All tasks at once cannot wait for a CPU: the kernel counts it, and shows zeros for the whole system.
	show_psi(&v, "memory", "some", PSI_MEM_SOME);
	show_psi(&v, "memory", "full", PSI_MEM_FULL);
	show_psi(&v, "io", "some", PSI_IO_SOME);
	show_psi(&v, "io", "full", PSI_IO_FULL);
	show_psi(&v, "irq", "full", PSI_IRQ_FULL);
	check_cpu(&v);
	check_memory(&v);
	check_io(&v);
}

static void show_load(void)
{
	u64 load = avenrun[0];
	unsigned int cpu, cpus = 0, nr_running = 0;
	long nr_iowait = 0;

	for_each_online_cpu (cpu) {
		const struct rq *rq = per_cpu_ptr(&runqueues, cpu);

		cpus++;
		nr_running += rq->nr_running;
		nr_iowait += atomic_read(&rq->nr_iowait);
	}
	row("load1=%.2f load5=%.2f load15=%.2f cpus=%u nr_running=%u nr_iowait=%ld",
	    decimals(avenrun[0] + FIXED_1 / 200), decimals(avenrun[1] + FIXED_1 / 200),
	    decimals(avenrun[2] + FIXED_1 / 200), cpus, nr_running, nr_iowait);
	if (load * 100 >= (u64)cpus * load_percent << FSHIFT)
		alarm(loaded, 0, WARNING,
		      "load is high: load1=%llu of cpus=%u, nr_running=%u nr_iowait=%ld",
		      load >> FSHIFT, cpus, nr_running, nr_iowait);
}

static void check_reclaim(void)
{
	u64 swapped = rates[EVENT_PSWPIN] + rates[EVENT_PSWPOUT];

	if (swapped >= swap_pages_per_s)
		alarm(thrash, 0, WARNING,
		      "pages go to swap and back: in_per_s=%llu out_per_s=%llu major_faults_per_s=%llu",
		      rates[EVENT_PSWPIN], rates[EVENT_PSWPOUT], rates[EVENT_PGMAJFAULT]);
	if (rates[EVENT_ALLOCSTALL] >= allocstall_per_s)
		alarm(thrash, 1, WARNING,
		      "tasks free memory before they get any: stalls_per_s=%llu scanned_per_s=%llu freed_per_s=%llu",
		      rates[EVENT_ALLOCSTALL], rates[EVENT_PGSCAN_DIRECT],
		      rates[EVENT_PGSTEAL_DIRECT]);
}

DETECTOR(pressure, .description = "what tasks wait for: pressure, load, reclaim and swap",
	 .period_ms = 1000)
{
	update_rates();
	show_pressure();
	show_load();
	show_events();
	check_reclaim();
	alarms_end(stalled);
	alarms_end(loaded);
	alarms_end(thrash);
}
