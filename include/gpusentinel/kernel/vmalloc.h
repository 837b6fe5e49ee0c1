/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Areas that vmalloc() and its kin have given out. include/linux/vmalloc.h, mm/vmalloc.c
 */
#ifndef GPUSENTINEL_KERNEL_VMALLOC_H
#define GPUSENTINEL_KERNEL_VMALLOC_H

#include <gpusentinel/kernel/base.h>

struct vm_struct {
	/** Bytes, with the guard page. */
	unsigned long size;
	/** Pages behind the area; 0 of what was only mapped, as by ioremap(). unsigned long in 7.x. */
	unsigned int nr_pages;
	/** Where in the code the area was asked for. */
	const void *caller;
} __kernel_type;

struct vmap_area {
	struct list_head list;
	/** NULL of an area that is being given back, and of vm_map_ram(). */
	struct vm_struct *vm;
} __kernel_type;

/** Not an area but a list of them. */
struct rb_list {
	struct list_head head;
} __kernel_type;

/**
 * Since v6.9 ("mm: vmalloc: remove global vmap_area_root rb-tree") areas are spread over nodes. Before that, all are in
 * vmap_area_list.
 */
struct vmap_node {
	struct rb_list busy;
} __kernel_type;

extern struct list_head vmap_area_list __ksym __weak;
extern struct vmap_node *vmap_nodes __ksym __weak;
extern int nr_vmap_nodes __ksym __weak;

/** Upper bound of nodes: the kernel takes at most 128. */
#define VMAP_NODES_MAX 1024

#endif
