// SPDX-License-Identifier: Apache-2.0
// Every process as /proc/PID/stat and /proc/PID/status show it.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// Longest name that /proc shows (fs/proc/array.c, proc_task_name()).
#define TASK_NAME_LEN 64

struct task_name {
	unsigned int len;
	char text[TASK_NAME_LEN];
};

static void name_add(struct task_name *name, const char *s, unsigned int max)
{
	for (unsigned int i = 0; i < max && name->len < TASK_NAME_LEN - 1; i++) {
		char c = s[i];

		if (!c)
			break;
		name->text[name->len++] = c;
	}
	name->text[name->len] = 0;
}

// One copy in place of a load for each character: every process has one.
static void name_set_comm(struct task_name *name, const struct task_struct *p)
{
	__builtin_memcpy(name->text, p->comm, TASK_COMM_LEN);
	while (name->len < TASK_COMM_LEN - 1 && name->text[name->len])
		name->len++;
	name->text[name->len] = 0;
}

// The thread of a workqueue names what it works on ('+') or worked on last ('-');
// kernel/workqueue.c, wq_worker_comm().
static void wq_worker_comm(struct task_name *name, const struct task_struct *p)
{
	const struct kthread *kthread = to_kthread(p);
	const struct worker *worker = kthread ? kthread->data : NULL;

	if (!worker)
		return;

	// Since Linux kernel commit 2a1b02bcba78 ("workqueue: Refactor worker ID formatting and
	// make wq_worker_comm() use full ID string") (in v6.10), a rescuer is shown with the
	// whole name of its queue, which comm cuts.
	const struct workqueue_struct *rescue_wq = worker->rescue_wq;

	if (rescue_wq && name->len == TASK_COMM_LEN - 1 && name->text[7] == '/' &&
	    name->text[8] == 'R') {
		name->len = sizeof("kworker/R-") - 1;
		name_add(name, rescue_wq->name, sizeof(rescue_wq->name));
	}
	if (!worker->pool || !worker->desc[0])
		return;
	name_add(name, worker->current_work ? "+" : "-", 1);
	name_add(name, worker->desc, sizeof(worker->desc));
}

static void proc_task_name(struct task_name *name, const struct task_struct *p)
{
	name->len = 0;
	if ((p->flags & PF_KTHREAD) && !(p->flags & PF_WQ_WORKER) &&
	    bpf_core_field_exists(struct kthread, full_name)) {
		const struct kthread *kthread = to_kthread(p);
		const char *full_name = kthread ? kthread->full_name : NULL;

		if (full_name) {
			name_add(name, full_name, TASK_NAME_LEN);
			return;
		}
	}
	name_set_comm(name, p);
	if (p->flags & PF_WQ_WORKER)
		wq_worker_comm(name, p);
}

DETECTOR(processes, .description = "every process with its state, memory and CPU time",
	 .period_ms = 1000)
{
	struct task_struct *p;

	for_each_process (p) {
		struct mm_struct *mm = p->mm;
		struct task_name name;
		u64 utime, stime;

		proc_task_name(&name, p);
		thread_group_cputime_adjusted(p, &utime, &stime);
		row("pid=%d tgid=%d ppid=%d uid=%u state=%c comm=%s threads=%d rss_kb=%lu "
		    "utime_ns=%llu stime_ns=%llu start_ns=%llu kthread=%d",
		    p->pid, p->tgid, task_ppid_nr(p), p->real_cred->uid.val, task_state_to_char(p),
		    name.text, get_nr_threads(p), mm ? get_mm_rss(mm) << (PAGE_SHIFT - 10) : 0,
		    utime, stime, p->start_boottime, !!(p->flags & PF_KTHREAD));
	}
}
