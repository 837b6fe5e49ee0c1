// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

DETECTOR(arithmetic)
{
	struct task_struct *p = &init_task;
	long zero = p->load[0].weight, minus = p->load[1].weight;
	int shift = p->pid;
	long smallest = (-0x7fffffffffffffffL - 1);

	row("%ld %ld", 7 / zero, 7 % zero);
	row("%lu %lu", 7UL / (unsigned long)zero, 7UL % (unsigned long)zero);
	row("%ld %ld", smallest / minus, smallest % minus);
	row("%d %lld", 1 << shift, 1LL << shift);
	row("%d %d", __builtin_clz(zero), __builtin_ctzll(zero));
	row("%d", (int)(1e30 * (double)(zero + 1)));
	row("%.2f %d", 1.5 * shift, -1);
	row("%hhd %c %x %p", (signed char)-1, 'c', 0xfffffff0, p);
}

DETECTOR(impossible)
{
	struct task_struct *p = &init_task;

	row("before");
	if (p->pid == 65)
		__builtin_unreachable();
	if (p->pid == 66)
		__builtin_trap();
	row("after");
}
