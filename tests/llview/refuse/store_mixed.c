// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	int own = 1;
	int *p = init_task.pid ? &own : (int *)init_task.parent;

	*p = 2;
	row("%d", own);
}
// expect: 9:5: store through a pointer that may lead into kernel memory
