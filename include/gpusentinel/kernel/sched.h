/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Tasks, processes and their accounting.
 */
#ifndef GPUSENTINEL_KERNEL_SCHED_H
#define GPUSENTINEL_KERNEL_SCHED_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/mm.h>
#include <gpusentinel/kernel/vmalloc.h>

/** include/linux/sched.h */
#define TASK_COMM_LEN 16

/*
 * Task states. Part of no type, hence not asked for: unchanged since Linux kernel commit
 * 8ef9925b02c2 ("sched/debug: Add explicit TASK_PARKED printing") (in v4.14). Later bits were
 * free before they were taken.
 */
#define TASK_UNINTERRUPTIBLE 0x0002
#define TASK_PARKED 0x0040
#define TASK_NOLOAD 0x0400
/**
 * Since Linux kernel commit 5f220be21418 ("sched/wakeup: Prepare for RT sleeping spin/rwlocks")
 * (in v5.15).
 */
#define TASK_RTLOCK_WAIT 0x1000
/**
 * Since Linux kernel commit f5d39b020809 ("freezer,sched: Rewrite core freezer logic") (in v6.1).
 */
#define TASK_FROZEN 0x8000
#define TASK_IDLE (TASK_UNINTERRUPTIBLE | TASK_NOLOAD)
/** RUNNING to PARKED: what /proc shows. */
#define TASK_REPORT 0x007f
#define TASK_REPORT_IDLE (TASK_REPORT + 1)

/** task_struct.flags */
#define PF_WQ_WORKER 0x00000020
#define PF_KTHREAD 0x00200000

/** CPU time in nanoseconds, as the tick found it. */
struct task_cputime {
	u64 stime;
	u64 utime;
	/** Exact. */
	u64 sum_exec_runtime;
};

/**
 * What was last shown as CPU time, in nanoseconds; time never goes backwards for readers of
 * /proc.
 */
struct prev_cputime {
	u64 utime;
	u64 stime;
} __kernel_type;

/** A queue of the fair class: of a CPU, or of a group of tasks on it. */
struct cfs_rq {
	struct rq *rq;
	/** Groups from this one upwards that have used up their quota (CONFIG_CFS_BANDWIDTH). */
	int throttle_count;
} __kernel_type;

struct sched_entity {
	/** Nanoseconds on a CPU. */
	u64 sum_exec_runtime;
	/** Chained by rq.cfs_tasks. */
	struct list_head group_node;
	struct cfs_rq *cfs_rq;
	/**
	 * Asleep, and still in the queue for its lag. Since Linux kernel commit 152e11f6df29 ("sched/fair:
	 * Implement delayed dequeue") (in v6.12).
	 */
	unsigned char sched_delayed;
} __kernel_type;

/** include/linux/sched.h, CONFIG_SCHED_INFO */
struct sched_info {
	/** rq.clock when the task last began to wait for a CPU; 0 while it runs or sleeps. */
	unsigned long long last_queued;
} __kernel_type;

/** include/uapi/linux/resource.h; as unsigned long. */
struct rlimit {
	unsigned long rlim_cur;
} __kernel_type;

#define RLIMIT_NOFILE 7

struct pid;

/** What the threads of a process share. include/linux/sched/signal.h */
struct signal_struct {
	int nr_threads;
	/** Chains task_struct.thread_node. */
	struct list_head thread_head;
	/** CPU time of threads that have ended, in nanoseconds. */
	u64 utime;
	u64 stime;
	u64 sum_sched_runtime;
	struct prev_cputime prev_cputime;
	/** By enum pid_type: the process, its group, its session. */
	struct pid *pids[4];
	/** By RLIMIT_*. */
	struct rlimit rlim[16];
	/** Set while the process dies by the OOM killer. */
	struct mm_struct *oom_mm;
} __kernel_type;

typedef struct {
	u32 val;
} __kernel_type kuid_t;

/** include/linux/cred.h */
struct cred {
	/** Real user, as the initial user namespace numbers it. */
	kuid_t uid;
} __kernel_type;

/** Threads that there are and may be, and forks since boot; kernel/fork.c */
extern int nr_threads __ksym;
extern int max_threads __ksym;
extern unsigned long total_forks __ksym;

/** arch/x86/include/asm/processor.h */
struct thread_struct {
	/** Of a task that does not run: where its stack ends. */
	unsigned long sp;
} __kernel_type;

/** include/linux/sched.h */
struct task_struct {
	unsigned int __state;
	int exit_state;
	/** PF_* */
	unsigned int flags;
	int pid;
	int tgid;
	char comm[TASK_COMM_LEN];
	/** NULL once the task is unhashed: it is no longer in /proc. */
	struct pid *thread_pid;
	/** Chain the tasks of a struct pid, by enum pid_type. */
	struct hlist_node pid_links[4];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct mm_struct *mm;
	const struct cred *real_cred;
	/** Chains the leaders of all processes, from init_task on. */
	struct list_head tasks;
	struct list_head thread_node;
	struct sched_entity se;
	struct sched_info sched_info;
	u64 utime;
	u64 stime;
	/** Nanoseconds since boot, time in suspend included. */
	u64 start_boottime;
	/** Open files; NULL once the task has ended. */
	struct files_struct *files;
	void *worker_private;
	/** Context switches: when it had to wait, and when another task was let run. */
	unsigned long nvcsw, nivcsw;
	/** Its lowest address, and what it is if the stack is mapped as memory of vmalloc() is. */
	void *stack;
	struct vm_struct *stack_vm_area;
	struct thread_struct thread;
	/**
	 * The lock that it waits for, with a BLOCKER_TYPE_* (locking.h): with
	 * CONFIG_DETECT_HUNG_TASK_BLOCKER, since v6.16.
	 */
	unsigned long blocker;
	/** 1 while it runs, see task_on_cpu(); a byte in new kernels, an int in old ones. */
	u8 on_cpu;
	/** Chains readers of RCU that were preempted (rcu.h); only kernels that preempt themselves have it. */
	struct list_head rcu_node_entry;
} __kernel_type;

/**
 * Since Linux kernel commit 2f064a59a11f ("sched: Change task_struct::state") (in v5.14), the
 * state is named __state. Before that, it is named state and is a long.
 */
struct task_struct___state_long {
	long state;
} __kernel_type;

/**
 * Since Linux kernel commit e32cf5dfbe22 ("kthread: Generalize pf_io_worker so it can point to
 * struct kthread") (in v5.17), a kernel thread's struct kthread is found at worker_private.
 * Before that, at set_child_tid.
 */
struct task_struct___kthread_tid {
	void *set_child_tid;
} __kernel_type;

/** The idle task of the boot CPU, head of the list of processes. */
extern struct task_struct init_task __ksym;

/** NULL at the end of a damaged list. */
static __always_inline struct task_struct *next_task(const struct task_struct *p)
{
	struct list_head *next = p->tasks.next;

	return next ? list_entry(next, struct task_struct, tasks) : NULL;
}

/** Every process, each by its thread group leader; init_task itself is none. */
#define for_each_process(p) for (p = next_task(&init_task); p && p != &init_task; p = next_task(p))

/** Every thread of the process of @p p. */
#define for_each_thread(p, t) list_for_each_entry (t, &(p)->signal->thread_head, thread_node)

/** False once the task is unhashed. */
static __always_inline bool pid_alive(const struct task_struct *p)
{
	return p->thread_pid != NULL;
}

static __always_inline int get_nr_threads(const struct task_struct *p)
{
	return p->signal->nr_threads;
}

/** Process id of the parent as /proc shows it; 0 for init and for orphans of a dying system. */
static inline int task_ppid_nr(const struct task_struct *p)
{
	return pid_alive(p) ? p->real_parent->tgid : 0;
}

/** task_struct.__state under either name. */
static inline unsigned int task_state(const struct task_struct *p)
{
	if (bpf_core_field_exists(p->__state))
		return p->__state;
	return ((const struct task_struct___state_long *)p)->state;
}

/** Whether it runs on a CPU now. */
static __always_inline bool task_on_cpu(const struct task_struct *p)
{
	// The lowest byte of either.
	return *(const u8 *)((unsigned long)p + bpf_core_field_offset(p->on_cpu));
}

/** As /proc/PID/stat shows it: RSDTtXZPI. */
static inline char task_state_to_char(const struct task_struct *p)
{
	static const char task_state_array[] = "RSDTtXZPI";
	unsigned int tsk_state = task_state(p);
	unsigned int state = (tsk_state | (unsigned int)p->exit_state) & TASK_REPORT;

	if ((tsk_state & TASK_IDLE) == TASK_IDLE)
		state = TASK_REPORT_IDLE;
	if (tsk_state & (TASK_RTLOCK_WAIT | TASK_FROZEN))
		state = TASK_UNINTERRUPTIBLE;
	// At most fls(TASK_REPORT_IDLE) = 8.
	return task_state_array[fls(state)];
}

/** CPU time of the whole process with the threads that have ended; kernel/sched/cputime.c. */
static inline void thread_group_cputime(struct task_struct *p, struct task_cputime *times)
{
	struct signal_struct *sig = p->signal;
	struct task_struct *t;

	times->utime = sig->utime;
	times->stime = sig->stime;
	times->sum_exec_runtime = sig->sum_sched_runtime;
	for_each_thread (p, t) {
		times->utime += t->utime;
		times->stime += t->stime;
		times->sum_exec_runtime += t->se.sum_exec_runtime;
	}
}

/**
 * Scale the times that the tick sampled so that their sum is the exact run time, and let neither
 * go backwards, since Linux kernel commit 3dc167ba5729 ("sched/cputime: Improve
 * cputime_adjust()") (in v5.8). The kernel also stores the result in @p prev; here nothing is
 * stored.
 */
static inline void cputime_adjust(const struct task_cputime *curr, const struct prev_cputime *prev,
				  u64 *ut, u64 *st)
{
	u64 rtime = curr->sum_exec_runtime;
	u64 stime = curr->stime;
	u64 utime = curr->utime;
	u64 prev_stime = prev->stime;
	u64 prev_utime = prev->utime;

	if (prev_stime + prev_utime >= rtime) {
		*ut = prev_utime;
		*st = prev_stime;
		return;
	}
	if (stime == 0)
		utime = rtime;
	else if (utime == 0)
		stime = rtime;
	else
		stime = mul_u64_u64_div_u64(stime, rtime, stime + utime);
	stime = max(stime, prev_stime);
	utime = rtime - stime;
	if (utime < prev_utime) {
		utime = prev_utime;
		stime = rtime - utime;
	}
	*ut = utime;
	*st = stime;
}

/** User and system time of the process in nanoseconds, as /proc/PID/stat shows them in ticks. */
static inline void thread_group_cputime_adjusted(struct task_struct *p, u64 *ut, u64 *st)
{
	struct task_cputime cputime;

	thread_group_cputime(p, &cputime);
	cputime_adjust(&cputime, &p->signal->prev_cputime, ut, st);
}

/** kernel/workqueue_internal.h */
struct workqueue_struct {
	char name[32];
} __kernel_type;

struct worker {
	struct work_struct *current_work;
	/** The function that does it. */
	void *current_func;
	struct worker_pool *pool;
	/** Name of the workqueue served last; 24 bytes, later 32. */
	char desc[32];
	/** The queue that a rescuer waits for. */
	struct workqueue_struct *rescue_wq;
} __kernel_type;

/** kernel/kthread.c */
struct kthread {
	/** What the thread was made to run; old kernels do not keep it. */
	void *threadfn;
	/** struct worker * of a workqueue's thread. */
	void *data;
	/**
	 * Name that is too long for task_struct.comm, or NULL. Since Linux kernel commit
	 * d6986ce24fc0 ("kthread: dynamically allocate memory to store kthread's full name") (in
	 * v5.17).
	 */
	char *full_name;
} __kernel_type;

/** The kernel thread behind @p p, which must have PF_KTHREAD; NULL while it is being made. */
static inline struct kthread *to_kthread(const struct task_struct *p)
{
	if (bpf_core_field_exists(p->worker_private))
		return p->worker_private;
	return ((const struct task_struct___kthread_tid *)p)->set_child_tid;
}

/** What the kernel thread @p p was started for, or its work at this time; NULL for other tasks. */
static inline void *kthread_function(const struct task_struct *p)
{
	const struct kthread *kthread = p->flags & PF_KTHREAD ? to_kthread(p) : NULL;

	if (!kthread)
		return NULL;
	if (p->flags & PF_WQ_WORKER) {
		const struct worker *worker = kthread->data;

		return worker ? worker->current_func : NULL;
	}
	return bpf_core_field_exists(kthread->threadfn) ? kthread->threadfn : NULL;
}

#endif
