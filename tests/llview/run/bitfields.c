// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

DETECTOR(bitfields)
{
	struct task_struct *p = &init_task;

	row("%u %d %llu", p->in_execve, p->nice, (u64)p->wide);
	if (p->in_execve && p->nice < 0)
		row("%u %d %llu", 1, -1, 0ULL);
}
