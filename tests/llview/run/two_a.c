// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

int half(struct task_struct *p);
extern u32 shared;

DETECTOR(two)
{
	shared++;
	row("%d %u", half(&init_task), shared);
}
