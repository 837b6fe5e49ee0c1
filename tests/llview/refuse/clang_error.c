// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	row("%d", init_task.nothing);
}
// expect: 6:22: no member named 'nothing' in 'struct task_struct'
