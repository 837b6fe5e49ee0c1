// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

int nothing(struct task_struct *p);

int nothing(struct task_struct *p)
{
	return p->pid;
}
// expect: no DETECTOR() in this file
