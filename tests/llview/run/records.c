// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

DETECTOR(records)
{
	struct task_struct *p = &init_task;

	finding(p->pid ? CRITICAL : INFO, "%s has %d", p->comm, p->pid);
	metric("load{task=\"%s\"}", p->load[0].weight, p->comm);
	row("%s|%.3s|%5d|100%%", p->name, p->name, 5);
	row("%llu %llu %u %u", now_ns(), run_count(), thread_index(), thread_count());
	row("nothing");
}
