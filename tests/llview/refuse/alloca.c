// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	for (int i = 0; i < init_task.pid; i++) {
		char *own = __builtin_alloca(16);

		own[0] = i;
		row("%d", own[0]);
	}
}
// expect: 7:15: memory taken from the stack on the way: declare a variable
