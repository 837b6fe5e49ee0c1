// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

extern int schedule(void) __ksym;

DETECTOR(test)
{
	row("%d", schedule());
}
// expect: 8:12: schedule() has no body here
