// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

int jiffies __ksym = 1;
extern int missing;

DETECTOR(test)
{
	row("%d %d", jiffies, missing);
}
// expect: 4: jiffies is a kernel symbol and cannot be defined here
// expect: 5: missing is not defined; a kernel symbol is declared with __ksym
