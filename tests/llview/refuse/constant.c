// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static const int limits[2] = { 1, 2 };

DETECTOR(test)
{
	*(int *)&limits[1] = 3;
	row("%d", limits[init_task.pid & 1]);
}
// warnings: -Wno-cast-qual
// expect: 8:21: store to a constant
