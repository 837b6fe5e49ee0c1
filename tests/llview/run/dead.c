// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

static int element(const int *array, int length, int index)
{
	return index < length ? array[index] : -1;
}

DETECTOR(dead)
{
	int own[4] = { 1, 2, 3, 4 };

	if (sizeof(long) == 4)
		own[7] = 1;
	row("%d %d", element(own, 4, 3), element(own, 4, 4));
}
