/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * All entries of an xarray at once, by all threads of a block.
 *
 * A list is read link by link, each a trip over PCIe; a tree is read level by level, and in each level all slots at the
 * same time. What was found lies in ascending order, so that threads that share it by ranges write their
 * records in that order, however many they are.
 */
#ifndef GPUSENTINEL_KERNEL_XARRAY_GATHER_H
#define GPUSENTINEL_KERNEL_XARRAY_GATHER_H

#include <gpusentinel/kernel/xarray.h>

/** Nodes of one level: as many as numbers below 4 Mi (PID_MAX_LIMIT) need. Entries. */
#define XA_GATHER_NODES 65536U
#define XA_GATHER_ENTRIES 262144U

#define XA_CHUNK_SHIFT 6
#define XA_CHUNK_SIZE (1U << XA_CHUNK_SHIFT)
/** Nodes whose slots are read at the same time. */
#define __XA_BATCH 4096U
/** Threads that share a node: each reads every sixteenth slot, so that neighbours read neighbours. */
#define __XA_LANES 16U

/** What was found; static. */
struct xa_gathered {
	/** Entries, and how many more there were than have room. */
	u64 count, cut;
	/** Nodes that did not belong where they were found, or could not be read. */
	u64 bad;
	/** The entries, and their indices. */
	u64 entries[XA_GATHER_ENTRIES];
	u32 indices[XA_GATHER_ENTRIES];

	/** Nodes of the level that is read and of the one below, by turns, each with its first index. */
	u64 nodes[2][XA_GATHER_NODES];
	u32 bases[2][XA_GATHER_NODES];
	u64 counts[2];
	/** Slots of a batch: nodes or entries, and nothing else. */
	u64 slots[__XA_BATCH * XA_CHUNK_SIZE];
	/** What each thread of the block has, and each warp. */
	u64 sums[1024 + 32];
	u32 shift;
};

/** Where the @p i th of @p n equal parts of @p count things begins. */
static __always_inline u64 share_begin(u64 count, u32 i, u32 n)
{
	return count * i / n;
}

/** The sum of what the threads of this block before this one bring; all call it. */
static __always_inline u64 __xa_sum_before(struct xa_gathered *g, u64 value, u64 *total)
{
	u32 thread = block_thread_index() & 1023, threads = block_thread_count();
	u64 before = 0, sum = 0;

	g->sums[thread] = value;
	block_barrier();
	if (thread % 32 == 0) {
		for (u32 i = 0; i < 32 && thread + i < threads; i++) {
			u64 one = g->sums[(thread + i) & 1023];

			g->sums[(thread + i) & 1023] = sum;
			sum += one;
		}
		g->sums[1024 + thread / 32] = sum;
	}
	block_barrier();
	*total = 0;
	for (u32 i = 0; i < 32 && i * 32 < threads; i++) {
		sum = g->sums[1024 + i];
		before += i < thread / 32 ? sum : 0;
		*total += sum;
	}
	return before + g->sums[thread];
}

/** Read the slots of a batch of nodes of one level. What they must not hold becomes NULL. */
static __always_inline void __xa_read_slots(struct xa_gathered *g, u32 level, u64 first, u64 nodes,
					    u32 shift)
{
	u64 bad = 0;

	for_each_index(i, nodes * __XA_LANES)
	{
		u32 at = (u32)i / __XA_LANES, lane = (u32)i % __XA_LANES;
		const struct xa_node *node =
			(const struct xa_node *)g->nodes[level][(first + at) % XA_GATHER_NODES];
		u64 *to = &g->slots[(at % __XA_BATCH) * XA_CHUNK_SIZE + lane];
		bool ok = node->shift == shift;
		void *const *from = &node->slots[lane];
		const void *entry[4] = { from[0], from[16], from[32], from[48] };

		bad += !ok && !lane;
		for (u32 k = 0; k < 4; k++) {
			bool wanted = shift ? xa_is_node(entry[k]) : !xa_is_internal(entry[k]);

			to[k * __XA_LANES] = ok && wanted ? (u64)entry[k] : 0;
		}
	}
	if (bad)
		__atomic_fetch_add(&g->bad, bad, __ATOMIC_RELAXED);
}

/** Append what a batch of nodes has to the level below, or, at the lowest, to the entries. */
static __always_inline void __xa_append(struct xa_gathered *g, u32 level, u64 first, u64 nodes,
					u32 shift)
{
	u32 thread = block_thread_index(), threads = block_thread_count();
	u64 begin = share_begin(nodes * XA_CHUNK_SIZE, thread, threads);
	u64 end = share_begin(nodes * XA_CHUNK_SIZE, thread + 1, threads);
	u64 capacity = shift ? XA_GATHER_NODES : XA_GATHER_ENTRIES;
	u64 found = 0, total;

	for (u64 i = begin; i < end; i++)
		found += g->slots[i % (__XA_BATCH * XA_CHUNK_SIZE)] != 0;

	u64 to = __xa_sum_before(g, found, &total);
	u64 had = shift ? g->counts[!level] : g->count;

	to += had;
	for (u64 i = begin; i < end; i++) {
		u64 entry = g->slots[i % (__XA_BATCH * XA_CHUNK_SIZE)];
		u64 node = first + i / XA_CHUNK_SIZE;
		u32 index = g->bases[level][node % XA_GATHER_NODES] +
			    (u32)((i % XA_CHUNK_SIZE) << (shift & 31));

		if (!entry || to >= capacity)
			continue;
		if (shift) {
			g->nodes[!level][to % XA_GATHER_NODES] = entry - 2;
			g->bases[!level][to % XA_GATHER_NODES] = index;
		} else {
			g->entries[to % XA_GATHER_ENTRIES] = entry;
			g->indices[to % XA_GATHER_ENTRIES] = index;
		}
		to++;
	}
	// All have read what it was.
	block_barrier();
	if (!thread) {
		u64 *count = shift ? &g->counts[!level] : &g->count;

		*count = min(had + total, capacity);
		g->cut += had + total - *count;
	}
	block_barrier();
}

/**
 * Gather the entries of @p xa whose indices have 32 bits. All threads of the one block call it; behind it they all see
 * the result. Bounded on any memory: each level must lie six bits below the one before.
 */
static __always_inline void xa_gather(const struct xarray *xa, struct xa_gathered *g)
{
	if (!block_thread_index()) {
		const void *head = xa->xa_head;
		bool tree = xa_is_node(head);

		g->cut = 0;
		g->bad = 0;
		g->counts[0] = tree;
		g->nodes[0][0] = (u64)xa_to_node(head);
		g->bases[0][0] = 0;
		// A tree that would have indices beyond 32 bits is none that belongs here.
		g->shift = tree ? min(xa_to_node(head)->shift, 30) / XA_CHUNK_SHIFT * XA_CHUNK_SHIFT
				: 0;
		g->count = !tree && head && !xa_is_internal(head);
		g->entries[0] = (u64)head;
		g->indices[0] = 0;
	}
	block_barrier();

	u32 level = 0;

	for (u32 shift = g->shift;; shift -= XA_CHUNK_SHIFT) {
		u64 nodes = g->counts[level];

		if (!block_thread_index())
			g->counts[!level] = 0;
		for (u64 first = 0; first < nodes; first += __XA_BATCH) {
			u64 batch = min(nodes - first, (u64)__XA_BATCH);

			__xa_read_slots(g, level, first, batch, shift);
			block_barrier();
			__xa_append(g, level, first, batch, shift);
		}
		if (!shift)
			return;
		level = !level;
	}
}

#endif
