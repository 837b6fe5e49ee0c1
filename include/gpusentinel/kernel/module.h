/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Loaded modules and where their memory is. include/linux/module.h
 */
#ifndef GPUSENTINEL_KERNEL_MODULE_H
#define GPUSENTINEL_KERNEL_MODULE_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/patching.h>

/** More than any machine loads: distributions load 50 to 300. */
#define MODULES_MAX 1024

enum module_state {
	MODULE_STATE_LIVE,
	/** Its init function runs. */
	MODULE_STATE_COMING,
	MODULE_STATE_GOING,
	/** Not yet seen by anybody. */
	MODULE_STATE_UNFORMED,
};

/**
 * Since Linux kernel commit ac3b43283923 ("module: replace module_layout with module_memory") (in
 * v6.4), a module has an array of regions. Before that, one region whose parts follow each other.
 */
enum mod_mem_type {
	MOD_TEXT,
	MOD_DATA,
	MOD_RODATA,
	MOD_RO_AFTER_INIT,
	MOD_MEM_NUM_TYPES,
};

struct module_memory {
	void *base;
	/** Bytes, whole pages. */
	unsigned int size;
} __kernel_type;

struct module_layout {
	void *base;
	/** Bytes, whole pages. */
	unsigned int size;
	/** Bytes from the base to the end of each part. */
	unsigned int text_size;
	unsigned int ro_size;
	unsigned int ro_after_init_size;
} __kernel_type;

/** include/linux/kernfs.h */
struct kernfs_node {
	/** Differs from those of all nodes before it. */
	u64 id;
} __kernel_type;

struct kobject {
	struct kernfs_node *sd;
} __kernel_type;

struct module_kobject {
	struct kobject kobj;
} __kernel_type;

/** Of the ORC unwinder; arch/x86/include/asm/module.h */
struct mod_arch_specific {
	unsigned int num_orcs;
	int *orc_unwind_ip;
	struct orc_entry *orc_unwind;
} __kernel_type;

struct module {
	/** enum module_state */
	unsigned int state;
	struct list_head list;
	char name[56];
	struct module_kobject mkobj;
	struct module_memory mem[1];
	struct jump_entry *jump_entries;
	unsigned int num_jump_entries;
	struct static_call_site *static_call_sites;
	int num_static_call_sites;
	/** Offsets, each relative to its own address, of struct tracepoint. */
	const int *tracepoints_ptrs;
	unsigned int num_tracepoints;
	/** Bits of taint_flags that it set. */
	unsigned long taints;
	void *init;
	/** With CONFIG_MODULE_UNLOAD, as what follows. */
	void *exit;
	/** Chains module_use.source_list of the modules that use this one. */
	struct list_head source_list;
	/** MODULE_REF_BASE more than users. */
	atomic_t refcnt;
	struct mod_arch_specific arch;
} __kernel_type;

/** kernel/module/internal.h */
#define MODULE_REF_BASE 1

/** Module source uses module target. */
struct module_use {
	struct list_head source_list;
	struct module *source;
} __kernel_type;

struct module___layout {
	struct module_layout core_layout;
	/** Gone once the module is live. */
	struct module_layout init_layout;
} __kernel_type;

extern struct list_head modules __ksym;

/** What of a module never changes once it is live. */
enum module_part {
	MODULE_PART_TEXT,
	MODULE_PART_RODATA,
	MODULE_PART_RO_AFTER_INIT,
	MODULE_PARTS,
};

#define __mod_mem_type(type)                                    \
	(bpf_core_enum_value_exists(enum mod_mem_type, type)    \
		 ? bpf_core_enum_value(enum mod_mem_type, type) \
		 : 0)

/** Where part @p part of module @p mod is; @p size 0: it has none. */
static __always_inline void module_part(const struct module *mod, unsigned int part, u64 *base,
					u32 *size)
{
	*base = 0;
	*size = 0;
	if (bpf_core_field_exists(mod->mem) && bpf_core_type_exists(struct module_memory)) {
		unsigned int type = __mod_mem_type(MOD_TEXT);

		if (part == MODULE_PART_RODATA)
			type = __mod_mem_type(MOD_RODATA);
		if (part == MODULE_PART_RO_AFTER_INIT)
			type = __mod_mem_type(MOD_RO_AFTER_INIT);

		const struct module_memory *mem = kernel_array_at(mod->mem, type);

		*base = (u64)mem->base;
		*size = mem->size;
	} else if (bpf_core_type_exists(struct module_layout)) {
		const struct module_layout *layout =
			&((const struct module___layout *)mod)->core_layout;
		u32 start = 0, end = layout->text_size;

		if (part == MODULE_PART_RODATA) {
			start = layout->text_size;
			end = layout->ro_size;
		}
		if (part == MODULE_PART_RO_AFTER_INIT) {
			start = layout->ro_size;
			end = layout->ro_after_init_size;
		}
		*base = (u64)layout->base + start;
		*size = end > start ? end - start : 0;
	}
}

/** Bytes of all of its parts, as /proc/modules shows them. */
static inline unsigned int module_total_size(const struct module *mod)
{
	unsigned int size = 0;

	if (bpf_core_field_exists(mod->mem) && bpf_core_type_exists(struct module_memory)) {
		unsigned int types = min((unsigned int)__mod_mem_type(MOD_MEM_NUM_TYPES), 16U);

		for (unsigned int type = 0; type < types; type++)
			size += kernel_array_at(mod->mem, type)->size;
	} else if (bpf_core_type_exists(struct module_layout)) {
		const struct module___layout *old = (const struct module___layout *)mod;

		size = old->core_layout.size + old->init_layout.size;
	}
	return size;
}

/** The module, and not another one that came to its place later; 0 while it is being made. */
static __always_inline u64 module_id(const struct module *mod)
{
	const struct kernfs_node *node = mod->mkobj.kobj.sd;

	return node ? node->id : 0;
}

#endif
