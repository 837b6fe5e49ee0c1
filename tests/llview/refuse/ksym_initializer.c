// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static struct task_struct *first = &init_task;

DETECTOR(test)
{
	row("%d", first->pid);
}
// expect: 4: the address of a kernel symbol is not known until the detector is loaded
