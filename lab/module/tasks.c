// SPDX-License-Identifier: GPL-2.0
/*
 * A list of tasks that leads back into itself. Whoever walks it does not come to its end: detectors outside, and inside
 * the kernel the OOM killer, sysrq-t and others. /proc goes by pids and shows nothing.
 */
#include "fault.h"

#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/printk.h>
#include <linux/sched.h>

enum { MEMBERS = 3 };

// Stays until told to go: neighbours of a wrong link must not be unlinked.
static int member(void *unused)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

int fault_task_circle(void *name)
{
	struct task_struct *task[MEMBERS];
	struct fault_end end;
	int started;

	for (started = 0; started < MEMBERS; started++) {
		task[started] = kthread_run(member, NULL, "lab-circle-%d", started + 1);
		if (IS_ERR(task[started]))
			break;
	}
	if (started == MEMBERS && READ_ONCE(task[0]->tasks.next) == &task[1]->tasks &&
	    READ_ONCE(task[1]->tasks.next) == &task[2]->tasks) {
		fault_begins(name, &end);
		WRITE_ONCE(task[1]->tasks.next, &task[0]->tasks);
		fault_wait_interruptible(&end);
		WRITE_ONCE(task[1]->tasks.next, &task[2]->tasks);
		fault_ended(name);
	} else {
		pr_emerg("lab_fault: %s: another task came in between\n", (char *)name);
	}
	while (started--)
		kthread_stop(task[started]);
	return 0;
}
