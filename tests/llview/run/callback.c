// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

static void each(void (*fn)(struct task_struct *, u32), u32 depth)
{
	struct task_struct *p = &init_task;

	while (p) {
		fn(p, depth);
		p = p->parent;
	}
}

static void deeper(struct task_struct *p, u32 depth)
{
	row("%d %u", p->pid, depth);
}

static void show(struct task_struct *p, u32 depth)
{
	row("%d %u", p->pid, depth);
	if (p->pid == 2)
		each(deeper, depth + 1);
}

DETECTOR(callback)
{
	each(show, 0);
}

DETECTOR(endless)
{
	row("in");
	for (;;)
		;
}

DETECTOR(irreducible)
{
	int i = init_task.pid;

	if (i)
		goto b;
a:
	i++;
b:
	i += 2;
	if (i != -1)
		goto a;
}
