// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	__sync_fetch_and_add(&init_task.pid, 1);
}
// expect: 6:2: atomic operation to kernel memory
