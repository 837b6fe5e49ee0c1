// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static int value;
static int *kept;

DETECTOR(test)
{
	row("%p", kept);
	kept = &value;
	row("%d", *(int *)((unsigned long)&value + init_task.pid));
}
// expect: 10:7: the address of a local variable is kept in memory
// expect: 11:13: the address of a local variable becomes a number
