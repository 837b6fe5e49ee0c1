// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static int depth(struct task_struct *p)
{
	return p ? 1 + depth(p->parent) : 0;
}

static int ping(int n);

static int pong(int n)
{
	return ping(n - 1);
}

static int ping(int n)
{
	return n ? pong(n) : 0;
}

DETECTOR(test)
{
	row("%d %d", depth(&init_task), ping(3));
}
// expect: 6:17: recursion: depth() is still running
// expect: 13:9: recursion: ping() is still running
