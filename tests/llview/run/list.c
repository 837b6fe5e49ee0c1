// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

DETECTOR(list, .description = "every task", .period_ms = 250, .budget = 500, .output = 4096)
{
	struct task_struct *p = &init_task;

	do {
		row("pid=%d comm=%s weight=%llu half=%u", p->pid, p->comm, p->load[2].weight,
		    p->load[1].half[1]);
		p = next_task(p);
	} while (p != &init_task);
}
