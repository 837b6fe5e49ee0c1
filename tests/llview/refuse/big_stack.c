// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	char own[1 << 20];

	__builtin_memset(own, init_task.pid, sizeof(own));
	row("%d", own[init_task.pid]);
}
// expect: 8:2: 1048576 bytes of local variables
