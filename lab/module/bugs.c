// SPDX-License-Identifier: GPL-2.0
// Mistakes that the kernel itself catches. They end the thread that makes them, and taint the kernel.
#include "fault.h"

#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/string.h>

int fault_oops(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	WRITE_ONCE(*(volatile int *)8, 0);
	return 0;
}

int fault_bug(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	BUG();
	return 0;
}

int fault_warn(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	WARN(1, "lab_fault: a warning\n");
	return 0;
}

// A list with an entry that leads to nowhere; its neighbour finds that out when it goes.
int fault_list_corrupt(void *name)
{
	static LIST_HEAD(head);
	static struct {
		struct list_head list;
		int number;
	} entries[8];
	struct fault_end end;
	int i;

	INIT_LIST_HEAD(&head);
	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		entries[i].number = i;
		list_add_tail(&entries[i].list, &head);
	}
	fault_begins(name, &end);
	WRITE_ONCE(entries[3].list.next, (struct list_head *)0x6b6b6b6b6b6b6b6bUL);
	list_del(&entries[4].list);
	return 0;
}

static noinline int deeper(int depth)
{
	volatile char frame[512];

	memset((char *)frame, depth, sizeof(frame));
	return depth < 1000 ? deeper(depth + 1) + frame[depth % sizeof(frame)] : 0;
}

int fault_stack_overflow(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	return deeper(0);
}
