// SPDX-License-Identifier: Apache-2.0
// A tree by all threads of a block, and by one after the other.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

extern struct xarray tree __ksym;

static struct xa_gathered gathered;

DETECTOR(gather, .threads = 1024)
{
	xa_gather(&tree, &gathered);

	u64 end = share_begin(gathered.count, thread_index() + 1, thread_count());

	for (u64 i = share_begin(gathered.count, thread_index(), thread_count()); i < end; i++)
		row("%u %llu", gathered.indices[i % XA_GATHER_ENTRIES],
		    gathered.entries[i % XA_GATHER_ENTRIES]);
	if (thread_index() == 0)
		metric("bad", gathered.bad);
}

DETECTOR(walk, .description = "the same one by one")
{
	unsigned long index;
	void *entry;

	xa_for_each(&tree, index, entry) row("%lu %llu", index, (u64)entry);
}

/** At the same place. */
extern struct pid_namespace numbers __ksym;

DETECTOR(find, .description = "each by its number")
{
	for (int nr = 0; nr < 4096 * 8; nr++) {
		const void *found = find_pid_ns(nr, &numbers);

		if (found)
			row("%d %llu", nr, (u64)found);
	}
}
