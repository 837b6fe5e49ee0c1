/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Arrays that are trees: xarray, and the IDR (numbers to pointers) and radix tree that are made of it since Linux
 * kernel commit f8d5d0cc145c ("xarray: Add definition of struct xarray") (in v4.20).
 */
#ifndef GPUSENTINEL_KERNEL_XARRAY_H
#define GPUSENTINEL_KERNEL_XARRAY_H

#include <gpusentinel/kernel/base.h>

/** lib/xarray.c; 64 slots, 16 with CONFIG_BASE_SMALL. */
struct xa_node {
	/** The slot of an index is (index >> shift) % slots; 0: the slots hold entries. */
	unsigned char shift;
	void *slots[64];
} __kernel_type;

struct xarray {
	/** A node, the entry of index 0, or NULL. */
	void *xa_head;
} __kernel_type;

/** include/linux/idr.h */
struct idr {
	struct xarray idr_rt;
	/** The number that index 0 stands for. */
	unsigned int idr_base;
} __kernel_type;

/** Nodes and marks of the tree itself; anything else is what a user stored: a pointer, or an odd value. */
static __always_inline bool xa_is_internal(const void *entry)
{
	return ((unsigned long)entry & 3) == 2;
}

static __always_inline bool xa_is_node(const void *entry)
{
	return xa_is_internal(entry) && (unsigned long)entry > 4096;
}

static __always_inline const struct xa_node *xa_to_node(const void *entry)
{
	return (const struct xa_node *)((unsigned long)entry - 2);
}

/** Where a walk is: the index that it looks at next, and the lowest node that this lies in, or NULL. */
struct xa_cursor {
	const struct xa_node *node;
	unsigned long index;
	bool end;
};

static __always_inline unsigned long xa_chunk_mask(void)
{
	return bpf_core_field_size(struct xa_node, slots) / sizeof(void *) - 1;
}

/** Go on behind the whole of a node whose slots stand for 2^@p shift indices each. */
static __always_inline void xa_leave(struct xa_cursor *c, unsigned int shift)
{
	unsigned long covered = ((xa_chunk_mask() + 1) << shift) - 1;

	c->node = NULL;
	c->end = (c->index | covered) == ~0UL;
	c->index = (c->index | covered) + 1;
}

/** From @p node down to the lowest node that has anything at or behind the index; false if there is none. */
static __always_inline bool xa_descend(struct xa_cursor *c, const struct xa_node *node)
{
	unsigned long mask = xa_chunk_mask();
	unsigned int shift = node->shift & 63;

	while (shift) {
		unsigned long slot = (c->index >> shift) & mask;
		const void *entry = node->slots[slot & 63];

		while (!xa_is_node(entry) && slot < mask) {
			slot++;
			c->index = ((c->index >> shift) + 1) << shift;
			entry = node->slots[slot & 63];
		}
		if (!xa_is_node(entry)) {
			xa_leave(c, shift);
			return false;
		}
		node = xa_to_node(entry);
		// A damaged tree does not go up again.
		shift = min(node->shift & 63U, shift - 1);
	}
	c->node = node;
	return true;
}

/** The next entry, its index in @p index; NULL behind the last. */
static inline void *xa_next_entry(const struct xarray *xa, struct xa_cursor *c,
				  unsigned long *index)
{
	unsigned long mask = xa_chunk_mask();

	while (!c->end) {
		if (!c->node) {
			void *head = xa->xa_head;

			if (!xa_is_node(head)) {
				bool first = !c->index;

				c->end = true;
				*index = 0;
				return first && !xa_is_internal(head) ? head : NULL;
			}

			const struct xa_node *node = xa_to_node(head);

			if (c->index >> (node->shift & 63) > mask)
				return NULL;
			if (!xa_descend(c, node))
				continue;
		}

		void *entry = c->node->slots[c->index & mask & 63];

		*index = c->index;
		if ((c->index & mask) == mask)
			xa_leave(c, 0);
		else
			c->index++;
		if (entry && !xa_is_internal(entry))
			return entry;
	}
	return NULL;
}

/** Every entry of the tree at @p xa with its index, an unsigned long, in ascending order. */
#define xa_for_each(xa, index, entry) \
	for (struct xa_cursor __cursor = {}; ((entry) = xa_next_entry(xa, &__cursor, &(index)));)

/** Every entry with its number, an unsigned int, in ascending order. */
#define idr_for_each_entry(idr, entry, id)                                             \
	for (struct xa_cursor __cursor = {}, *__at = &__cursor; __at; __at = NULL)     \
		for (unsigned long __index = 0;                                        \
		     ((entry) = xa_next_entry(&(idr)->idr_rt, &__cursor, &__index)) && \
		     ((id) = (unsigned int)__index + (idr)->idr_base, true);)

#endif
