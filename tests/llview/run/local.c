// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

static u64 total, runs;
static u32 history[4];

static const struct {
	const char *name;
	u32 bit;
} flags[] = { { "exiting", 4 }, { "kthread", 0x200000 }, { NULL, 8 } };

static const char *const states[] = { "running", "sleeping", "dead" };

DETECTOR(state)
{
	struct task_struct *p = &init_task;

	runs++;
	total += p->pid;
	history[runs & 3] = p->pid;
	row("%llu %llu %u", runs, total, history[(runs + 3) & 3]);
}

DETECTOR(array)
{
	struct task_struct *p = &init_task;
	u32 counts[8] = {};

	for (u32 i = 0; i < 8; i++)
		counts[i] = i * i;
	row("before");
	row("%u", counts[p->pid]);
}

DETECTOR(write)
{
	struct task_struct *p = &init_task;

	row("before");
	history[p->pid] = 7;
	row("%u", history[2]);
}

DETECTOR(tables)
{
	struct task_struct *p = &init_task;

	row("%s", states[p->pid]);
	row("%s %u", flags[p->pid].name, flags[p->pid].bit);
	row("%c", states[p->pid][1]);
}

DETECTOR(copies)
{
	struct task_struct *p = &init_task;
	struct list_head head = p->tasks;
	char comm[16];

	__builtin_memcpy(comm, p->comm, sizeof(comm));
	comm[2] = 'X';
	row("%s %s %llx", comm, comm + 3, (u64)head.next);

	char part[8];
	u32 n = p->nice;

	__builtin_memset(part, 0, sizeof(part));
	__builtin_memcpy(part, p->comm, n);
	row("%s", part);
}

DETECTOR(mixed)
{
	struct task_struct *p = &init_task;
	char own[8] = "own";
	const char *s = p->pid == 1   ? own
			: p->pid == 2 ? p->comm
			: p->pid == 3 ? "constant"
				      : p->name;
	u32 sum = 0;

	row("%s", s);
	for (int i = 0; i < 3; i++)
		sum += (u8)s[i];
	row("%u", sum);
}

DETECTOR(mixed_index)
{
	struct task_struct *p = &init_task;
	char own[8] = "own";
	const char *s = p->pid ? p->name : own;

	row("before");
	row("%d", s[p->load[0].weight]);
}
