// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static __thread int count;

DETECTOR(test)
{
	row("%d", count++);
}
// expect: 4:8: thread-local storage is not supported
