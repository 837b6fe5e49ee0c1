// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	init_task.pid = 1;
	__builtin_memset(init_task.comm, 0, 16);
	*(int *)0xffff888000000000 = 1;
}
// expect: 6:16: store to kernel memory
// expect: 7:2: memset to kernel memory
// expect: 8:29: store to kernel memory
