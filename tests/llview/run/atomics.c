// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

extern void schedule(void) __ksym;

static u64 shared[4];
static u32 small;

DETECTOR(atomics)
{
	int i = init_task.pid;

	__sync_fetch_and_add(&shared[i], 5);
	__atomic_store_n(&small, 7, __ATOMIC_RELEASE);
	row("%llu %u", __atomic_load_n(&shared[i], __ATOMIC_ACQUIRE), small);
	row("%d", __sync_bool_compare_and_swap(&small, 7, 8));
	row("%u %pS", small, schedule);
	__sync_fetch_and_add((u32 *)((char *)shared + init_task.nice), 1);
	row("aligned");
}
