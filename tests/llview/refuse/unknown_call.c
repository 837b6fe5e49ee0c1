// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

int printk(const char *fmt, ...);

DETECTOR(test)
{
	printk("hello");
}
// expect: 8:2: printk() has no body here
