/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Numbers of tasks: the tree that the kernel looks them up in.
 *
 * Since Linux kernel commit 95846ecf9dac ("pid: replace pid bitmap implementation with IDR API") (in v4.15), each
 * namespace keeps its numbers in an IDR. That of the first one has all tasks of the system, threads too.
 */
#ifndef GPUSENTINEL_KERNEL_PID_H
#define GPUSENTINEL_KERNEL_PID_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/sched.h>
#include <gpusentinel/kernel/xarray.h>

/** include/linux/pid_types.h, include/linux/pid.h */
enum pid_type {
	/** The one task whose number it is. */
	PIDTYPE_PID = 0,
	/**
	 * The leader of the process whose number it is. Since Linux kernel commit 6883f81aac6f ("pid: Implement
	 * PIDTYPE_TGID") (in v4.19).
	 */
	PIDTYPE_TGID = 1,
	/** All leaders of the processes in a group, and in a session. */
	PIDTYPE_PGID = 2,
	PIDTYPE_SID = 3,
};

struct pid_namespace {
	struct idr idr;
	/** Numbers in use; the highest bit says whether more may be taken. */
	unsigned int pid_allocated;
	/** One more than the highest. Since v6.14 ("pid: allow pid_max to be set per pid namespace"). */
	int pid_max;
} __kernel_type;

/** In @ref pid_namespace.pid_allocated: more may be taken. */
#define PIDNS_ADDING (1U << 31)

/** Before v6.14, of all namespaces. */
extern int pid_max __ksym __weak;

/** A number in one namespace. */
struct upid {
	int nr;
} __kernel_type;

/** What all namespaces' numbers of one task, group or session have in common. */
struct pid {
	/** Namespaces between the first one, which is level 0, and its own. */
	unsigned int level;
	/** By enum pid_type. */
	struct hlist_head tasks[4];
	/** By level. */
	struct upid numbers[1];
} __kernel_type;

extern struct pid_namespace init_pid_ns __ksym;

/** Its number in the first namespace. */
static __always_inline int pid_nr(const struct pid *pid)
{
	return pid->numbers[0].nr;
}

/** What has the number @p nr in @p ns, or NULL. */
static inline const struct pid *find_pid_ns(int nr, const struct pid_namespace *ns)
{
	unsigned long index = (unsigned int)nr - ns->idr.idr_base, mask = xa_chunk_mask();
	const void *entry = ns->idr.idr_rt.xa_head;
	unsigned int above = 64;

	// Each node stands below the one before.
	while (xa_is_node(entry)) {
		const struct xa_node *node = xa_to_node(entry);
		unsigned int shift = node->shift;

		if (shift >= above || (above == 64 && index >> shift > mask))
			return NULL;
		entry = node->slots[index >> shift & mask & 63];
		above = shift;
	}
	// Without a node there is index 0 alone.
	return xa_is_internal(entry) || (above == 64 && index) ? NULL : entry;
}

/** Link of the first task that uses @p pid as @p type, or NULL. */
#define pid_first(pid, type) ((pid)->tasks[bpf_core_enum_value(enum pid_type, type) & 3].first)

/** The task whose link of @p type is at @p node, which is not NULL. */
#define pid_link_task(node, type)                                                      \
	((struct task_struct *)((unsigned long)(node) -                                \
				bpf_core_field_offset(struct task_struct, pid_links) - \
				bpf_core_enum_value(enum pid_type, type) *             \
					bpf_core_type_size(struct hlist_node)))

/** The first task that uses @p pid as @p type, or NULL. */
#define pid_task(pid, type)                                              \
	({                                                               \
		const struct hlist_node *__first = pid_first(pid, type); \
                                                                         \
		__first ? pid_link_task(__first, type) : NULL;           \
	})

#endif
