// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static const char *const fast[] = { "a", "b" };
static const char *const slow[] = { "c", "d" };
static const struct {
	const char *const *names;
	u32 count;
} groups[] = { { fast, 2 }, { slow, 2 } };

DETECTOR(test)
{
	row("%s", groups[init_task.pid].names[init_task.nice]);
}
// expect: 13:12: a table of pointers that another table points to cannot be followed
