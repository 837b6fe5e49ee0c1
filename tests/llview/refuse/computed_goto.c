// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	static void *const labels[] = { &&a, &&b };

	goto *labels[init_task.pid & 1];
a:
	row("a");
b:
	row("b");
}
// expect: 4: computed goto
