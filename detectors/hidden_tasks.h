/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Of the detector `hidden`: tasks. Each structure of the kernel that knows tasks is gone through; what is in one of
 * them and not in those that show processes to people is hidden from these.
 */
#ifndef HIDDEN_TASKS_H
#define HIDDEN_TASKS_H

#include "hidden_views.h"

enum task_view {
	/** init_task.tasks, and the threads of each process there: for_each_process(), kill(-1), the OOM killer. */
	TASK_LIST = 1 << 0,
	/** The tree of numbers: /proc, kill(pid). */
	TASK_PID = 1 << 1,
	/** The children of each task: wait(). */
	TASK_CHILDREN = 1 << 2,
	/** The members of each set of control groups. */
	TASK_CGROUP = 1 << 3,
	/** What a CPU runs, and what waits to. */
	TASK_CPU = 1 << 4,
};

static const char task_view_names[][VIEW_NAME] = { "list", "pid", "children", "cgroup", "cpu", "" };

/** kernel/cgroup/cgroup.c: CSS_SET_HASH_BITS. */
#define CSS_SETS 128
#define CSS_SET_TASKS_MAX (1U << 20)

struct css_set___tasks {
	struct hlist_node hlist;
	/** Chain task_struct.cg_list. */
	struct list_head tasks, mg_tasks;
} __kernel_type;

struct task_struct___views {
	/** Chains children of real_parent. */
	struct list_head sibling;
	struct list_head children;
	struct css_set___tasks *cgroups;
	struct list_head cg_list;
} __kernel_type;

extern struct hlist_head css_set_table[] __ksym __weak;

/** Tasks of one run: a machine with more is looked at in part, and nothing is said of what has no room. */
SEEN(tasks, 17);

#define task_node_entry(node, member) \
	((struct task_struct *)container_of(node, struct task_struct___views, member))

static inline const struct task_struct___views *task_views(const struct task_struct *p)
{
	return (const struct task_struct___views *)p;
}

static inline bool task_follows(const struct task_struct *next, const struct task_struct *p)
{
	return ((const struct list_head___both *)&next->tasks)->prev ==
	       (const struct list_head___both *)&p->tasks;
}

/**
 * @param first nothing was seen before.
 * @param circle the last task before one that the same walk has seen; a second walk ends there. NULL: not known.
 * @return false: the list does not come back to where it began, as the kernel changed it, or it is damaged.
 */
static inline bool see_task_list(bool first, const struct task_struct **circle)
{
	const struct task_struct *known = *circle, *p, *next;

	for (p = next_task(&init_task); p && p != &init_task; p = next) {
		const struct signal_struct *signal = p->signal;
		const struct list_head *head = &signal->thread_head, *node = head;
		const struct task_struct *t = p;

		do {
			see(tasks, t, TASK_LIST);
			node = node->next;
			t = list_entry(node, struct task_struct, thread_node);
			// If it was freed, and is part of another process now, that is the end.
		} while (node && node != head && t->signal == signal);
		next = next_task(p);
		if (p == known || (first && next && next != &init_task && !task_follows(next, p) &&
				   seen_views(tasks, next) & TASK_LIST)) {
			*circle = p;
			return false;
		}
	}
	return p;
}

static inline void see_task_numbers(void)
{
	const struct pid *pid;
	unsigned int nr;

	idr_for_each_entry(&init_pid_ns.idr, pid, nr)
	{
		const struct hlist_node *link = pid_first(pid, PIDTYPE_PID);

		if (link)
			see(tasks, pid_link_task(link, PIDTYPE_PID), TASK_PID);
	}
}

/** Also of children that were not known before. */
static inline void see_children(void)
{
	const struct task_struct *parent = &init_task;

	for (u32 i = 0;; i++) {
		const struct list_head *head = &task_views(parent)->children;

		for (const struct list_head *node = head->next; node && node != head;
		     node = node->next) {
			const struct task_struct *p = task_node_entry(node, sibling);

			// Its parent has ended, and it is in the list of another one now.
			if (p->real_parent != parent)
				break;
			see(tasks, p, TASK_CHILDREN);
		}
		if (i >= seen_count(tasks))
			break;
		parent = (const struct task_struct *)seen_at(tasks, i)->object;
	}
}

static inline void see_css_set(const struct css_set___tasks *set)
{
	for (u32 which = 0; which < 2; which++) {
		const struct list_head *head = which ? &set->mg_tasks : &set->tasks;
		const struct list_head *node = head->next;

		for (u32 i = 0; i < CSS_SET_TASKS_MAX && node && node != head;
		     i++, node = node->next) {
			const struct task_struct *p = task_node_entry(node, cg_list);

			// It has moved to another one.
			if (task_views(p)->cgroups != set)
				break;
			if (p != &init_task)
				see(tasks, p, TASK_CGROUP);
		}
	}
}

static inline void see_cgroups(void)
{
	for (u32 i = 0; &css_set_table && i < CSS_SETS; i++) {
		const struct hlist_node *node = kernel_array_at(css_set_table, i)->first;

		for (; node; node = node->next)
			see_css_set(container_of(node, struct css_set___tasks, hlist));
	}
}

static inline void see_cpus(void)
{
	unsigned int cpu;

	for_each_online_cpu (cpu) {
		const struct rq *rq = per_cpu_ptr(&runqueues, cpu);
		const struct list_head *head = &rq->cfs_tasks;
		const struct list_head *node = head->next;
		const struct task_struct *p = rq->curr, *idle = rq->idle;

		// A queue changes faster than it can be read.
		for (u32 i = 0, n = rq->nr_running; p; i++, node = node->next) {
			if (p != idle)
				see(tasks, p, TASK_CPU);
			if (i == n || !node || node == head)
				break;
			p = list_entry(node, struct task_struct, se.group_node);
		}
	}
}

/** It is a task, and has not begun to be none: what a list that changes leads to may be anything. */
static inline bool task_is_live(const struct task_struct *p)
{
	const struct task_struct *leader = p->group_leader;
	const struct signal_struct *signal = p->signal;

	return leader && signal && leader->signal == signal && !p->exit_state && p->real_cred &&
	       p != &init_task;
}

/** Which of the views that every live task must be in lack it, asked directly. */
static inline u32 task_missing(const struct task_struct *p, u32 views, bool list_complete)
{
	bool leader = p->group_leader == p;
	const struct pid *pid = p->thread_pid;
	u32 missing = 0;

	if (!(views & TASK_LIST) && list_complete)
		missing |= TASK_LIST;
	if (!(views & TASK_PID) && (!pid || find_pid_ns(pid_nr(pid), &init_pid_ns) != pid))
		missing |= TASK_PID;
	if (leader && !(views & TASK_CHILDREN) && !list_linked(&task_views(p)->sibling))
		missing |= TASK_CHILDREN;
	return missing;
}

static inline void tell_task(const struct task_struct *p, u32 views, u32 missing)
{
	char missing_in[VIEW_NAMES], seen_in[VIEW_NAMES];

	view_names(missing_in, task_view_names, missing);
	view_names(seen_in, task_view_names, views);
	alarm(hidden_objects, (u64)p | missing, CRITICAL,
	      "%s is hidden: pid=%d tid=%d comm=%s uid=%u missing_in=%s seen_in=%s",
	      p->group_leader == p ? "process" : "thread", p->tgid, p->pid, p->comm,
	      p->real_cred->uid.val, missing_in, seen_in);
}

static inline bool task_suspect(const struct seen *seen)
{
	u32 views = seen->views;

	if ((views & (TASK_LIST | TASK_PID | TASK_CHILDREN)) ==
	    (TASK_LIST | TASK_PID | TASK_CHILDREN))
		return false;

	const struct task_struct *p = (const struct task_struct *)seen->object;

	return task_is_live(p) &&
	       ((views & (TASK_LIST | TASK_PID)) != (TASK_LIST | TASK_PID) || p->group_leader == p);
}

static inline void tell_tasks(bool complete)
{
	for (u32 i = 0; i < seen_count(tasks); i++) {
		const struct seen *seen = seen_at(tasks, i);
		const struct task_struct *p = (const struct task_struct *)seen->object;
		u32 missing;

		if (!task_suspect(seen))
			continue;
		missing = task_missing(p, seen->views, complete);
		// It may have ended while that was found out.
		if (missing && task_is_live(p))
			tell_task(p, seen->views & ~missing, missing);
	}
}

static inline u32 count_tasks(void)
{
	u32 counts[5] = {}, suspects = 0;

	for (u32 i = 0; i < seen_count(tasks); i++) {
		const struct seen *seen = seen_at(tasks, i);

		for (u32 view = 0; view < 5; view++)
			counts[view] += seen->views >> view & 1;
		suspects += task_suspect(seen);
	}
	row("tasks=%u list=%u pid=%u children=%u cgroup=%u cpu=%u suspects=%u lost=%u", tasks.count,
	    counts[0], counts[1], counts[2], counts[3], counts[4], suspects, tasks.lost);
	return suspects;
}

static inline void tell_circle(const struct task_struct *p)
{
	const struct task_struct *next = next_task(p);

	alarm(hidden_objects, (u64)p, CRITICAL,
	      "list of tasks leads in a circle: pid=%d comm=%s leads back to pid=%d comm=%s",
	      p->pid, p->comm, next->pid, next->comm);
}

static inline void look_at_tasks(void)
{
	const struct task_struct *circle = NULL;
	bool complete = true;

	seen_clear(tasks);
	// Twice, if something is not in the list: what was made after that was read is in it then.
	for (u32 pass = 0; pass < 2; pass++) {
		complete &= see_task_list(!pass, &circle);
		if (pass)
			break;
		if (circle)
			tell_circle(circle);
		see_task_numbers();
		see_cgroups();
		see_cpus();
		see_children();
		if (!count_tasks())
			return;
	}
	tell_tasks(complete);
}

#endif
