// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static void a(void)
{
	row("a");
}

static void b(void)
{
	row("b");
}

DETECTOR(test)
{
	void (*fn)(void) = init_task.pid ? a : b;

	fn();
	((void (*)(void))init_task.parent)();
}
// expect: 18:2: indirect call
// expect: 19:2: indirect call
