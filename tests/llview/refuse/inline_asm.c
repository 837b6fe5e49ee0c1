// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	asm volatile("" ::: "memory");
}
// expect: 6:2: inline assembly
