// SPDX-License-Identifier: Apache-2.0
// The list of processes, by one thread: what enumerate.c is measured against.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

DETECTOR(walk, .description = "the list of processes, walked by one thread", .output = 8 << 20)
{
	struct task_struct *p;

	for_each_process (p)
		row("pid=%d comm=%s state=%c", p->pid, p->comm, task_state_to_char(p));
}
