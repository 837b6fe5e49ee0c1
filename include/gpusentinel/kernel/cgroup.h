/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Control groups. include/linux/cgroup-defs.h
 */
#ifndef GPUSENTINEL_KERNEL_CGROUP_H
#define GPUSENTINEL_KERNEL_CGROUP_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/module.h>
#include <gpusentinel/kernel/path.h>

/** Levels of groups that are looked at. */
#define CGROUP_DEPTH_MAX 32

struct cgroup;

/** Of a group, or of what a controller keeps for one. */
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct list_head sibling;
	struct list_head children;
	/** CSS_* */
	unsigned int flags;
	/** Differs from those of all before it. */
	u64 serial_nr;
	struct cgroup_subsys_state *parent;
} __kernel_type;

/** Cleared when the group is removed; what still has pages or processes of it keeps it in memory. */
#define CSS_ONLINE (1U << 1)

/** Nanoseconds. */
struct task_cputime___exact {
	unsigned long long sum_exec_runtime;
} __kernel_type;

struct cgroup_base_stat {
	struct task_cputime___exact cputime;
} __kernel_type;

/** include/linux/cgroup_subsys.h; what a kernel is built without is not there. */
enum cgroup_subsys_id {
	memory_cgrp_id,
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	/** Of each controller, NULL where the group has not enabled it. */
	struct cgroup_subsys_state *subsys[1];
	/** Chains cgrp_cset_link.cset_link. */
	struct list_head cset_links;
	/** With what was below it, and how much of that its parent knows. */
	struct cgroup_base_stat bstat;
	struct cgroup_base_stat last_bstat;
} __kernel_type;

/**
 * A CPU's part of a group alone, and how much of that is in cgroup.bstat. Since v6.16 ("cgroup: use separate rstat
 * trees for each subsystem") in cgroup.rstat_base_cpu. Before that, with more in cgroup.rstat_cpu.
 */
struct cgroup_rstat_base_cpu {
	struct cgroup_base_stat bstat;
	struct cgroup_base_stat last_bstat;
} __kernel_type;

struct cgroup_rstat_cpu {
	struct cgroup_base_stat bstat;
	struct cgroup_base_stat last_bstat;
} __kernel_type;

struct cgroup___rstat_base {
	struct cgroup_rstat_base_cpu *rstat_base_cpu;
} __kernel_type;

struct cgroup___rstat {
	struct cgroup_rstat_cpu *rstat_cpu;
} __kernel_type;

/** Tasks that are in the same groups of all hierarchies. */
struct css_set {
	int nr_tasks;
} __kernel_type;

struct cgrp_cset_link {
	struct css_set *cset;
	struct list_head cset_link;
} __kernel_type;

struct cgroup_root {
	struct cgroup cgrp;
} __kernel_type;

/** The hierarchy of version 2. */
extern struct cgroup_root cgrp_dfl_root __ksym __weak;

/** Pages. include/linux/page_counter.h */
struct page_counter {
	atomic_long_t usage;
} __kernel_type;

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
} __kernel_type;

struct kernfs_node___name {
	const char *name;
} __kernel_type;

/**
 * Since v6.15 ("kernfs: Use RCU to access kernfs_node::parent."), the parent is named __parent. Before that, parent.
 */
struct kernfs_node___rcu_parent {
	struct kernfs_node *__parent;
} __kernel_type;

struct kernfs_node___parent {
	struct kernfs_node *parent;
} __kernel_type;

static __always_inline struct kernfs_node *kernfs_parent(const struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node___rcu_parent, __parent))
		return ((const struct kernfs_node___rcu_parent *)kn)->__parent;
	return ((const struct kernfs_node___parent *)kn)->parent;
}

/** The path of a group below the root of its hierarchy, in @p buf. */
static inline const char *cgroup_path(const struct cgroup *cgrp, struct prepend_buffer *buf)
{
	const struct kernfs_node *kn = cgrp->kn;

	prepend_init(buf);
	for (int depth = 0; kn && depth < CGROUP_DEPTH_MAX; depth++) {
		const struct kernfs_node *parent = kernfs_parent(kn);
		char name[128];

		if (!parent)
			break;
		prepend_name(
			buf, name,
			strscpy(name, ((const struct kernfs_node___name *)kn)->name, sizeof(name)));
		kn = parent;
	}
	return prepend_end(buf);
}

/** Share of CPU time that a group may use. kernel/sched/sched.h, CONFIG_CFS_BANDWIDTH */
struct cfs_bandwidth {
	/** Nanoseconds that the group may run in each period; RUNTIME_INF: without limit. */
	ktime_t period;
	u64 quota;
	/** Periods in which it ran, those in which it was throttled, and nanoseconds that its queues waited. */
	int nr_periods;
	int nr_throttled;
	u64 throttled_time;
} __kernel_type;

#define RUNTIME_INF (~0ULL)

/** What the scheduler keeps for a group. */
struct task_group {
	struct cgroup_subsys_state css;
	struct list_head list;
	struct cfs_bandwidth cfs_bandwidth;
} __kernel_type;

/** Chains task_group.list of all groups, with CONFIG_CGROUP_SCHED. */
extern struct list_head task_groups __ksym __weak;

#endif
