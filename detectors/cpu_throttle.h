/* SPDX-License-Identifier: Apache-2.0 */
// Groups of tasks that have a quota of CPU time and often use it up.
#ifndef DETECTORS_CPU_THROTTLE_H
#define DETECTORS_CPU_THROTTLE_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// Groups with a quota that are kept in mind, and groups that are looked at.
#define THROTTLE_GROUPS 256U
#define THROTTLE_LOOKED 4096U
// A rate over fewer periods than these says little: 100 ms each as a rule.
#define THROTTLE_PERIODS 10

PARAM(throttled_permille, 500, "of its periods in which a group may be throttled");

ALARMS(throttled, 64, .rise_ms = 0, .fall_ms = 3000);

struct throttle {
	u64 serial_nr;
	int nr_periods, nr_throttled;
	u64 throttled_time;
	// As the run before saw it.
	int seen_periods;
	// Of the last THROTTLE_PERIODS or more.
	u32 permille, throttled, of;
	u64 waited_ns;
};

static struct throttle throttles[THROTTLE_GROUPS];

static void check_group(const struct task_group *tg)
{
	const struct cfs_bandwidth *b = &tg->cfs_bandwidth;
	u64 serial_nr = tg->css.serial_nr;
	struct throttle *t = &throttles[serial_nr % THROTTLE_GROUPS];
	int periods = b->nr_periods, throttled_periods = b->nr_throttled;
	u64 time = b->throttled_time;
	struct prepend_buffer path;

	if (t->serial_nr != serial_nr || periods < t->nr_periods) {
		*t = (struct throttle){
			.serial_nr = serial_nr,
			.nr_periods = periods,
			.nr_throttled = throttled_periods,
			.throttled_time = time,
			.seen_periods = periods,
		};
		return;
	}
	// A group that rests has no periods: what was told of it ends.
	if (periods == t->seen_periods)
		t->permille = 0;
	t->seen_periods = periods;
	if (periods - t->nr_periods >= THROTTLE_PERIODS) {
		t->of = periods - t->nr_periods;
		t->throttled = min((u32)(throttled_periods - t->nr_throttled), t->of);
		t->permille = t->throttled * 1000ULL / t->of;
		t->waited_ns = time - t->throttled_time;
		t->nr_periods = periods;
		t->nr_throttled = throttled_periods;
		t->throttled_time = time;
	}
	if (t->permille < throttled_permille)
		return;
	alarm(throttled, serial_nr, WARNING,
	      "group is throttled: cgroup=%s quota_us=%llu period_us=%llu throttled=%u of periods=%u, waited_ms=%llu",
	      cgroup_path(tg->css.cgroup, &path), b->quota / 1000, (u64)b->period / 1000,
	      t->throttled, t->of, t->waited_ns / 1000000);
}

static void check_throttled(void)
{
	unsigned int looked = 0;
	struct task_group *tg;

	if (!&task_groups || !bpf_core_type_exists(struct cfs_bandwidth) ||
	    !bpf_core_field_exists(struct task_group, cfs_bandwidth))
		return;
	list_for_each_entry (tg, &task_groups, list) {
		if (++looked > THROTTLE_LOOKED)
			break;
		// Groups of sessions (autogroup) and the root have none.
		if (tg->cfs_bandwidth.quota != RUNTIME_INF && tg->css.cgroup)
			check_group(tg);
	}
	alarms_end(throttled);
}

#endif
