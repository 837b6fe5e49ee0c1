// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

struct node {
	struct node *next;
	int value;
};

static struct node ring = { &ring, 1 };

DETECTOR(test)
{
	row("%d", ring.next->value);
}
// expect: 9: the initializer of ring leads back to it
