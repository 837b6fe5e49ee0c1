// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	init_task.in_execve = 1;
}
// expect: 6:22: bit field of a kernel type cannot be written
