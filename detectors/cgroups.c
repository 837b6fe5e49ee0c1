// SPDX-License-Identifier: Apache-2.0
// The groups of the default hierarchy: their tasks, memory and CPU time.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define CGROUPS_MAX 16384
// Sets of tasks that are added up for one group.
#define CSETS_MAX 1024

// CPU time of a group alone that nobody has added to it yet: the kernel does so when somebody reads.
static u64 pending_runtime(const struct cgroup *cgrp)
{
	u64 sum = 0;
	unsigned int cpu;

	for_each_possible_cpu (cpu) {
		if (bpf_core_type_exists(struct cgroup_rstat_base_cpu)) {
			const struct cgroup_rstat_base_cpu *rstat = per_cpu_ptr(
				((const struct cgroup___rstat_base *)cgrp)->rstat_base_cpu, cpu);

			sum += rstat->bstat.cputime.sum_exec_runtime -
			       rstat->last_bstat.cputime.sum_exec_runtime;
		} else if (bpf_core_type_exists(struct cgroup_rstat_cpu)) {
			const struct cgroup_rstat_cpu *rstat =
				per_cpu_ptr(((const struct cgroup___rstat *)cgrp)->rstat_cpu, cpu);

			sum += rstat->bstat.cputime.sum_exec_runtime -
			       rstat->last_bstat.cputime.sum_exec_runtime;
		}
	}
	return sum;
}

// Of the root: of all CPUs; kernel/cgroup/rstat.c, root_cgroup_cputime()
static u64 root_runtime(void)
{
	u64 sum = 0;
	unsigned int cpu;

	for_each_possible_cpu (cpu) {
		u64 stat[NR_STATS];

		__builtin_memcpy(stat, per_cpu_ptr(&kernel_cpustat, cpu)->cpustat, sizeof(stat));
		sum += stat[CPUTIME_USER] + stat[CPUTIME_NICE] + stat[CPUTIME_SYSTEM] +
		       stat[CPUTIME_IRQ] + stat[CPUTIME_SOFTIRQ] + stat[CPUTIME_STEAL];
	}
	return sum;
}

static unsigned int nr_tasks(struct cgroup *cgrp)
{
	unsigned int sum = 0, count = 0;
	struct cgrp_cset_link *link;

	list_for_each_entry (link, &cgrp->cset_links, cset_link) {
		if (++count > CSETS_MAX)
			break;
		sum += link->cset->nr_tasks;
	}
	return sum;
}

// KiB, or -1 if the memory of the group is not counted.
static s64 memory_current(struct cgroup *cgrp)
{
	const struct cgroup_subsys_state *css = NULL;

	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		css = (&cgrp->subsys[0])[bpf_core_enum_value(enum cgroup_subsys_id,
							     memory_cgrp_id)];
	if (!css || !cgrp->self.parent)
		return -1;
	return atomic_long_read(&container_of(css, struct mem_cgroup, css)->memory.usage)
	       << (PAGE_SHIFT - 10);
}

static struct cgroup *first_child(const struct cgroup *cgrp)
{
	const struct list_head *children = &cgrp->self.children, *next = children->next;

	if (!next || next == children)
		return NULL;
	return list_entry(next, struct cgroup, self.sibling);
}

static struct cgroup *next_sibling(const struct cgroup *cgrp, const struct cgroup *parent)
{
	const struct list_head *next = cgrp->self.sibling.next;

	if (!next || next == &parent->self.children)
		return NULL;
	return list_entry(next, struct cgroup, self.sibling);
}

static void show_cgroup(struct cgroup *cgrp, u64 runtime)
{
	struct prepend_buffer path;

	row("cgroup=%s tasks=%u memory_kb=%lld cpu_ns=%llu state=%s", cgroup_path(cgrp, &path),
	    nr_tasks(cgrp), memory_current(cgrp), cgrp->self.parent ? runtime : root_runtime(),
	    cgrp->self.flags & CSS_ONLINE ? "online" : "removed");
}

// Children come before their parents, who need their times.
DETECTOR(cgroups, .description = "control groups of the default hierarchy", .period_ms = 10000)
{
	// The path from the root, and what of each level's groups their parents do not know yet.
	struct cgroup *at[CGROUP_DEPTH_MAX + 1];
	u64 pending[CGROUP_DEPTH_MAX + 2] = {};
	unsigned int depth = 0, count = 0;
	bool down = true;

	if (!&cgrp_dfl_root)
		return;
	at[0] = &cgrp_dfl_root.cgrp;
	while (count < CGROUPS_MAX) {
		struct cgroup *cgrp = at[depth];
		struct cgroup *child = down && depth < CGROUP_DEPTH_MAX ? first_child(cgrp) : NULL;

		if (child) {
			at[++depth] = child;
			pending[depth + 1] = 0;
			continue;
		}

		u64 known = cgrp->bstat.cputime.sum_exec_runtime;
		u64 unknown = pending_runtime(cgrp) + pending[depth + 1];

		show_cgroup(cgrp, known + unknown);
		count++;
		if (!depth)
			break;
		pending[depth + 1] = 0;
		pending[depth] += unknown + known - cgrp->last_bstat.cputime.sum_exec_runtime;

		struct cgroup *sibling = next_sibling(cgrp, at[depth - 1]);

		down = sibling != NULL;
		if (sibling)
			at[depth] = sibling;
		else
			depth--;
	}
}
