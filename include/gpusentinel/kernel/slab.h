/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Caches of the slab allocator (SLUB). mm/slab.h, mm/slub.c
 */
#ifndef GPUSENTINEL_KERNEL_SLAB_H
#define GPUSENTINEL_KERNEL_SLAB_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/mm.h>

/** More than any system makes: distributions' kernels have 150 to 300. */
#define SLAB_CACHES_MAX 2048

/** Order of a slab's pages in the upper half, objects in it in the lower one. */
struct kmem_cache_order_objects {
	unsigned int x;
} __kernel_type;

#define OO_SHIFT 16
#define OO_MASK ((1U << OO_SHIFT) - 1)

struct kmem_cache_node {
	/** Both are counted with CONFIG_SLUB_DEBUG only, which distributions set. */
	atomic_long_t nr_slabs;
	atomic_long_t total_objects;
} __kernel_type;

/**
 * New in 7.x. Before that, kmem_cache.node is an array of pointers, as long as there may be nodes.
 */
struct kmem_cache_per_node_ptrs {
	struct kmem_cache_node *node;
} __kernel_type;

struct kmem_cache {
	unsigned int flags;
	unsigned int size;
	unsigned int object_size;
	struct kmem_cache_order_objects oo;
	const char *name;
	/** Chains slab_caches. */
	struct list_head list;
	struct kmem_cache_per_node_ptrs per_node[1];
} __kernel_type;

struct kmem_cache___node_array {
	struct kmem_cache_node *node[1];
} __kernel_type;

extern struct list_head slab_caches __ksym;

/** What the kernel may take back: counted as SReclaimable. */
enum _slab_flag_bits {
	_SLAB_RECLAIM_ACCOUNT,
};

/**
 * Since v6.9 ("mm, slab: use an enum to define SLAB_ cache creation flags") flags have numbers in an enum. Before that,
 * they are macros.
 */
static __always_inline bool slab_is_reclaimable(const struct kmem_cache *s)
{
	unsigned int flag = 0x00020000U;

	if (bpf_core_enum_value_exists(enum _slab_flag_bits, _SLAB_RECLAIM_ACCOUNT))
		flag = 1U << bpf_core_enum_value(enum _slab_flag_bits, _SLAB_RECLAIM_ACCOUNT);
	return s->flags & flag;
}

static __always_inline unsigned int oo_order(struct kmem_cache_order_objects x)
{
	return x.x >> OO_SHIFT;
}

static __always_inline unsigned int oo_objects(struct kmem_cache_order_objects x)
{
	return x.x & OO_MASK;
}

/** The part of cache @p s on node @p nid, or NULL. */
static __always_inline const struct kmem_cache_node *slab_node(const struct kmem_cache *s,
							       unsigned int nid)
{
	if (bpf_core_field_exists(s->per_node) &&
	    bpf_core_type_exists(struct kmem_cache_per_node_ptrs))
		return kernel_array_at(s->per_node, nid)->node;
	return (&((const struct kmem_cache___node_array *)s)->node[0])[nid];
}

#endif
