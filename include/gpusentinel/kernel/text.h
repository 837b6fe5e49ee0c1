/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What in the kernel's address space is code, and whose: the kernel's own, modules', BPF programs', trampolines'.
 * kernel/extable.c, kernel/module. Not part of kernel.h: for detectors that judge addresses.
 */
#ifndef GPUSENTINEL_KERNEL_TEXT_H
#define GPUSENTINEL_KERNEL_TEXT_H

#include <gpusentinel/kernel/callback.h>
#include <gpusentinel/kernel/device.h>
#include <gpusentinel/kernel/module.h>

extern char _stext[] __ksym;
extern char _etext[] __ksym;
extern char _end[] __ksym;

/** Kernel addresses begin here, with 4 levels of page tables and with 5. */
#define KERNEL_SPACE_START 0xff00000000000000ULL

/** Text, constants, data. */
static __always_inline bool core_kernel_image(u64 address)
{
	return address >= (u64)_stext && address < (u64)_end;
}

/** enum mod_mem_type: text, data, constants, and those of the initialisation. */
#define MODULE_RANGES 7

struct module_layout___size {
	unsigned int size;
} __kernel_type;

/** All memory of a module, in MODULE_RANGES parts; @p size 0: there is no such part. */
static __always_inline void module_range(const struct module *mod, u32 part, u64 *base, u32 *size)
{
	*base = 0;
	*size = 0;
	if (bpf_core_field_exists(mod->mem) && bpf_core_type_exists(struct module_memory)) {
		const struct module_memory *mem = kernel_array_at(mod->mem, part);

		*base = (u64)mem->base;
		*size = mem->size;
	} else if (bpf_core_type_exists(struct module_layout) && part < 2) {
		const struct module___layout *layouts = (const struct module___layout *)mod;
		const struct module_layout *layout =
			part ? &layouts->init_layout : &layouts->core_layout;

		*base = (u64)layout->base;
		*size = ((const struct module_layout___size *)layout)->size;
	}
}

/** include/linux/module.h */
struct module_kobject___mod {
	struct kobject___entry kobj;
	struct module *mod;
} __kernel_type;

/** What /sys/module shows; also parameters of what is built in, without a module. */
extern struct kset *module_kset __ksym __weak;

/** Where the kernel looks up which module an address is in. include/linux/rbtree_latch.h */
struct latch_tree_node {
	struct rb_node node[2];
} __kernel_type;

struct latch_tree_root {
	/** Two trees, of which one is at rest. */
	struct rb_root tree[2];
} __kernel_type;

struct mod_tree_node {
	struct module *mod;
	struct latch_tree_node node;
} __kernel_type;

struct mod_tree_root {
	struct latch_tree_root root;
} __kernel_type;

extern struct mod_tree_root mod_tree __ksym __weak;

/** Two members of one type each, at the same places in both. */
struct module_memory___tree {
	void *base;
	unsigned int size;
	struct mod_tree_node mtn;
} __kernel_type;

struct module_layout___tree {
	void *base;
	unsigned int size;
	struct mod_tree_node mtn;
} __kernel_type;

/** The module that the kernel finds at @p address, whether or not it is on the list; NULL: none. */
static __always_inline const struct module *mod_find(u64 address)
{
	bool memory = bpf_core_type_exists(struct module_memory);
	struct rb_node *node = &mod_tree ? mod_tree.root.tree[0].rb_node : NULL;

	for (u32 depth = 0; node && depth < 64; depth++) {
		const struct mod_tree_node *mtn =
			container_of((struct latch_tree_node *)node, struct mod_tree_node, node);
		u64 base = 0;
		u32 size = 0;

		if (memory) {
			const struct module_memory___tree *mem =
				container_of(mtn, struct module_memory___tree, mtn);

			base = (u64)mem->base;
			size = mem->size;
		} else if (bpf_core_type_exists(struct module_layout)) {
			const struct module_layout___tree *layout =
				container_of(mtn, struct module_layout___tree, mtn);

			base = (u64)layout->base;
			size = layout->size;
		}
		if (address - base < size)
			return mtn->mod;
		node = address < base ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/** A BPF program or trampoline. include/linux/bpf.h */
struct bpf_ksym {
	unsigned long start;
	unsigned long end;
	struct list_head lnode;
} __kernel_type;

extern struct list_head bpf_kallsyms __ksym __weak;

static __always_inline bool is_bpf_text_address(u64 address)
{
	struct bpf_ksym *ksym;

	if (!&bpf_kallsyms || !bpf_core_type_exists(struct bpf_ksym))
		return false;
	list_for_each_entry (ksym, &bpf_kallsyms, lnode) {
		if (address >= ksym->start && address < ksym->end)
			return true;
	}
	return false;
}

/** A trampoline of ftrace, of those in use. */
static __always_inline bool is_ftrace_trampoline(u64 address)
{
	const struct ftrace_ops___functions *ops =
		&ftrace_ops_list ? (const struct ftrace_ops___functions *)ftrace_ops_list : NULL;

	for (u32 i = 0; ops && i < 1024; i++, ops = ops->next) {
		if (address - ops->trampoline < ops->trampoline_size)
			return true;
	}
	return false;
}

#endif
