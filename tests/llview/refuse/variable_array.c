// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	char own[init_task.pid];

	own[0] = 1;
	row("%d", own[0]);
}
// expect: 6:2: array of variable length
