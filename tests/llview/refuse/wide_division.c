// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	__int128 big = init_task.pid;

	row("%lld", (long long)(big * big / init_task.load[0].weight));
}
// expect: 8:36: division of 128-bit integers is not supported
