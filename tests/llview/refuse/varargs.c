// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static int sum(int n, ...)
{
	__builtin_va_list list;
	int total = 0;

	__builtin_va_start(list, n);
	while (n--)
		total += __builtin_va_arg(list, int);
	__builtin_va_end(list);
	return total;
}

DETECTOR(test)
{
	row("%d", sum(2, 1, 2));
}
// expect: 9:2: a function of the detector takes variable arguments
// expect: 12:2: a function of the detector takes variable arguments
