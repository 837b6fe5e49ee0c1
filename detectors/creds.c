// SPDX-License-Identifier: Apache-2.0
// Credentials that no call of the kernel gives. Without exec, a task may take user ids that it has already, or any if it
// has CAP_SETUID; its permitted capabilities only shrink, unless it enters a user namespace within its own. What
// breaks that has been written into the kernel's memory. The state before is kept for each task, and
// compared with until it is legal again.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define TASKS 16384U
#define PROBES 32U

ALARMS(gained, 64, .rise_ms = 1);
ALARMS(invalid, 64, .rise_ms = 1);
ALARMS(shared, 64, .rise_ms = 1);
ALARMS(counts, 64, .rise_ms = 1500);

// A task's credentials, as they were when they were last legal.
struct seen {
	u64 start, exec_id, permitted, effective;
	const struct user_namespace___tree *user_ns;
	const struct cred___whole *cred;
	u32 uid, suid, euid, fsuid;
	u32 pid;
	// The run that has put it there, counted from 1.
	u32 run;
};

// Those of the run before, and of this one.
static struct seen tasks[2][TASKS];

// Who holds a cred.
struct holder {
	const struct cred___whole *cred;
	u32 tgid, references, run;
};

static struct holder holders[TASKS];
static u32 used[TASKS];
static u32 used_count, task_count, left_out;

static u32 slot_of(u64 key, u32 probe)
{
	return (hash_64(key, 14) + probe) % TASKS;
}

static void read_creds(const struct task_struct *p, struct seen *now)
{
	const struct task_struct___cred *task = (const struct task_struct___cred *)p;
	const struct cred___whole *cred = task->real_cred;

	now->start = p->start_boottime;
	now->pid = p->pid;
	now->exec_id = task->self_exec_id;
	now->cred = cred;
	now->uid = cred->uid.val;
	now->suid = cred->suid.val;
	now->euid = cred->euid.val;
	now->fsuid = cred->fsuid.val;
	now->permitted = cred_capabilities(cred, cap_permitted);
	now->effective = cred_capabilities(cred, cap_effective);
	now->user_ns = cred->user_ns;
}

static bool has_id(const struct seen *was, u32 id)
{
	return id == was->uid || id == was->suid || id == was->euid || id == was->fsuid;
}

// By system calls other than exec, as many as it likes.
static bool may_become(const struct seen *was, const struct seen *now)
{
	if (!(was->permitted & CAP_TO_MASK(CAP_SETUID)) &&
	    !(has_id(was, now->uid) && has_id(was, now->suid) && has_id(was, now->euid) &&
	      has_id(was, now->fsuid)))
		return false;
	if (now->user_ns != was->user_ns)
		return in_userns(now->user_ns, was->user_ns);
	return !(now->permitted & ~was->permitted);
}

// One exec makes user 0 of who is not, and may not become so, by the setuid bit of its file alone. All capabilities come with
// that, while those that a file has as an attribute are some: the attribute is not looked at. After two, it is too
// late to tell.
static bool may_become_by_exec(const struct task_struct *p, const struct seen *was,
			       const struct seen *now)
{
	const struct mm_struct___exe *mm = ((const struct task_struct___cred *)p)->mm;
	const struct file___inode *exe = mm ? mm->exe_file : NULL;

	if (now->exec_id - was->exec_id > 1 || now->uid || has_id(was, 0) ||
	    was->permitted & CAP_TO_MASK(CAP_SETUID))
		return true;
	if (now->permitted != cred_capabilities(&init_cred, cap_permitted))
		return true;
	return !exe || exe->f_inode->i_mode & S_ISUID;
}

static const struct seen *seen_before(const struct seen *now, u32 run)
{
	for (u32 probe = 0; probe < PROBES; probe++) {
		const struct seen *was =
			&tasks[(run - 1) & 1][slot_of(now->start ^ now->pid, probe)];

		if (was->run != run - 1)
			return NULL;
		if (was->start == now->start && was->pid == now->pid)
			return was;
	}
	return NULL;
}

static void remember(const struct seen *state, u32 run)
{
	for (u32 probe = 0; probe < PROBES; probe++) {
		struct seen *at = &tasks[run & 1][slot_of(state->start ^ state->pid, probe)];

		if (at->run == run)
			continue;
		*at = *state;
		at->run = run;
		return;
	}
	left_out++;
}

static void compare(const struct task_struct *p, const struct seen *now, u32 run)
{
	const struct task_struct___cred *task = (const struct task_struct___cred *)p;
	const struct seen *was = seen_before(now, run);
	bool legal = !was || p->flags & PF_KTHREAD;

	// exec counts itself first, and changes credentials then.
	if (!legal && now->exec_id == was->exec_id)
		legal = may_become(was, now) || READ_ONCE(task->self_exec_id) != now->exec_id;
	else if (!legal)
		legal = may_become_by_exec(p, was, now);
	remember(legal ? now : was, run);
	if (legal)
		return;
	alarm(gained, now->pid, CRITICAL,
	      "credentials that no call gives: pid=%u comm=%s uid=%u was_uid=%u euid=%u was_euid=%u permitted=%llx was_permitted=%llx execs=%u same_cred=%u",
	      now->pid, p->comm, now->uid, was->uid, now->euid, was->euid, now->permitted,
	      was->permitted, (u32)(now->exec_id - was->exec_id), now->cred == was->cred);
}

static void check_sets(const struct task_struct *p, const struct seen *now)
{
	u64 all = cred_capabilities(&init_cred, cap_permitted);

	if (!(now->effective & ~now->permitted) && !(now->permitted & ~all))
		return;
	alarm(invalid, now->pid, CRITICAL,
	      "capabilities that cannot be: pid=%u comm=%s effective=%llx permitted=%llx all=%llx",
	      now->pid, p->comm, now->effective, now->permitted, all);
}

// Threads of a process share their credentials; processes never do.
static void hold(const struct task_struct *p, const struct seen *now, u32 run)
{
	const struct task_struct___cred *task = (const struct task_struct___cred *)p;
	u32 references = task->cred == now->cred ? 2 : 1;

	if (now->cred == &init_cred && !(p->flags & PF_KTHREAD) && task->mm) {
		alarm(shared, now->pid, CRITICAL,
		      "a process uses the kernel's own credentials: pid=%u comm=%s", now->pid,
		      p->comm);
		return;
	}
	for (u32 probe = 0; probe < PROBES; probe++) {
		u32 slot = slot_of((u64)now->cred >> 3, probe);
		struct holder *at = &holders[slot];

		if (at->run != run) {
			at->run = run;
			at->cred = now->cred;
			at->tgid = p->tgid;
			at->references = references;
			used[used_count++ % TASKS] = slot;
			return;
		}
		if (at->cred != now->cred)
			continue;
		at->references += references;
		if (at->tgid != (u32)p->tgid)
			alarm(shared, now->pid, CRITICAL,
			      "processes share credentials: pid=%u comm=%s with_pid=%u", now->pid,
			      p->comm, at->tgid);
		return;
	}
}

// Who writes a pointer takes no reference. Threads that come and go make a difference for one look.
static void check_counts(void)
{
	for (u32 i = 0; i < min(used_count, TASKS); i++) {
		const struct holder *holder = &holders[used[i]];
		u64 usage = cred_usage(holder->cred);

		if (usage < holder->references)
			alarm(counts, holder->tgid, ERROR,
			      "credentials are held more often than counted: pid=%u references=%u counted=%llu",
			      holder->tgid, holder->references, usage);
	}
}

DETECTOR(creds, .description = "credentials that a task did not get from the kernel",
	 .period_ms = 500)
{
	const struct task_struct *p, *t;
	u32 run = run_count() + 1;

	if (!system_is_up())
		return;
	used_count = task_count = left_out = 0;
	for_each_process (p) {
		for_each_thread (p, t) {
			struct seen now = {};

			// One that is going, or not yet there.
			if (!pid_alive(t) || !((const struct task_struct___cred *)t)->real_cred)
				continue;
			read_creds(t, &now);
			task_count++;
			compare(t, &now, run);
			check_sets(t, &now);
			hold(t, &now, run);
		}
	}
	check_counts();
	alarms_end(gained);
	alarms_end(invalid);
	alarms_end(shared);
	alarms_end(counts);
	row("tasks=%u creds=%u left_out=%u", task_count, used_count, left_out);
}
