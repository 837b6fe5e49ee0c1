// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	u32 own[2] = {};

	__sync_fetch_and_add(&own[init_task.pid], 1);
	row("%u", own[0]);
}
// expect: 8:2: atomic operation on the stack: only static variables are shared
