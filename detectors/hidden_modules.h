/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Of the detector `hidden`: modules, and code that is no known module's.
 */
#ifndef HIDDEN_MODULES_H
#define HIDDEN_MODULES_H

#include "hidden_views.h"

enum module_view {
	/** The list of modules: /proc/modules, lsmod. */
	MODULE_LIST = 1 << 0,
	/** /sys/module. */
	MODULE_SYSFS = 1 << 1,
	/** The tree by which the kernel finds the module of an address. */
	MODULE_TREE = 1 << 2,
	/** The list of modules whose BUG() and WARN() the kernel knows. */
	MODULE_BUGS = 1 << 3,
	/** Functions that ftrace knows lie in it. */
	MODULE_FTRACE = 1 << 4,
};

static const char module_view_names[][VIEW_NAME] = {
	"list", "sysfs", "tree", "bugs", "ftrace", ""
};

/** Entries of /sys/module: also of what is built in. */
#define MODULE_KOBJECTS_MAX 8192
/** Nodes of the tree: each module has several. */
#define MODULE_NODES_MAX (16 * MODULES_MAX)

struct module_kobject___mod {
	struct kobject___entry kobj;
	/** NULL: of what is built in. */
	struct module *mod;
} __kernel_type;

/** /sys/module. */
extern struct kset *module_kset __ksym;

struct rb_node___tree {
	/** The lowest bits are the colour. */
	unsigned long __rb_parent_color;
	struct rb_node___tree *rb_left, *rb_right;
} __kernel_type;

struct rb_root___tree {
	struct rb_node___tree *rb_node;
} __kernel_type;

/** Two trees, of which writers change one while readers use the other. */
struct latch_tree_root___tree {
	/** Odd: the second one. Some struct, of which a 32-bit number is all. */
	u32 seq;
	struct rb_root___tree tree[2];
} __kernel_type;

struct mod_tree_root {
	struct latch_tree_root___tree root;
} __kernel_type;

struct latch_tree_node___tree {
	struct rb_node___tree node[2];
} __kernel_type;

struct mod_tree_node {
	struct module *mod;
	struct latch_tree_node___tree node;
} __kernel_type;

/** With CONFIG_MODULES_TREE_LOOKUP, which ftrace and perf select. */
extern struct mod_tree_root mod_tree __ksym __weak;

struct module___bugs {
	struct list_head bug_list;
} __kernel_type;

/** With CONFIG_GENERIC_BUG. */
extern struct list_head module_bug_list __ksym __weak;

SEEN(module_set, 11);

/** Where the code of the modules is that were seen, for those that ftrace knows by address. */
static struct {
	u64 base;
	u32 size;
} module_code[MODULES_MAX];

/** Those that are chained in lists. @return false: that of modules does not come back to where it began. */
static inline bool see_module_lists(void)
{
	const struct list_head *const heads[] = {
		&modules,
		module_kset ? &module_kset->list : NULL,
		&module_bug_list ? &module_bug_list : NULL,
	};
	const u64 offsets[] = {
		bpf_core_field_offset(struct module, list),
		bpf_core_field_offset(struct kobject___entry, entry) +
			bpf_core_field_offset(struct module_kobject___mod, kobj),
		bpf_core_field_offset(struct module___bugs, bug_list),
	};
	const u32 views[] = { MODULE_LIST, MODULE_SYSFS, MODULE_BUGS };
	bool complete = true;

	for (u32 which = 0; which < 3; which++) {
		const struct list_head *head = heads[which], *node = head ? head->next : NULL;

		for (u32 i = 0; i < MODULE_KOBJECTS_MAX && node && node != head;
		     i++, node = node->next) {
			u64 object = (u64)node - offsets[which];

			if (views[which] == MODULE_SYSFS)
				object = (u64)((const struct module_kobject___mod *)object)->mod;
			if (object)
				see(module_set, object, views[which]);
		}
		complete &= views[which] != MODULE_LIST || node == head;
	}
	return complete;
}

static __always_inline const struct rb_node___tree *rb_parent(const struct rb_node___tree *node)
{
	return (const struct rb_node___tree *)(node->__rb_parent_color & ~3UL);
}

static __always_inline const struct rb_node___tree *rb_leftmost(const struct rb_node___tree *node)
{
	for (u32 i = 0; i < 64 && node && node->rb_left; i++)
		node = node->rb_left;
	return node;
}

static inline const struct rb_node___tree *rb_next(const struct rb_node___tree *node)
{
	if (node->rb_right)
		return rb_leftmost(node->rb_right);

	const struct rb_node___tree *parent = rb_parent(node);

	for (u32 i = 0; i < 64 && parent && node == parent->rb_right; i++) {
		node = parent;
		parent = rb_parent(node);
	}
	return parent;
}

/** Which of the two is in use. */
static __always_inline u32 mod_tree_which(void)
{
	u64 seq = (u64)&mod_tree.root + bpf_core_field_offset(mod_tree.root.seq);

	return *(const u32 *)seq & 1;
}

static __always_inline const struct rb_node___tree *mod_tree_first(u32 which)
{
	if (!&mod_tree)
		return NULL;
	return rb_leftmost(kernel_array_at(mod_tree.root.tree, which)->rb_node);
}

/** What is at @p node of the tree @p which. */
static __always_inline const struct mod_tree_node *mod_tree_entry(const struct rb_node___tree *node,
								  u32 which)
{
	return (const struct mod_tree_node *)((u64)node -
					      bpf_core_field_offset(struct mod_tree_node, node) -
					      bpf_core_field_offset(struct latch_tree_node___tree,
								    node) -
					      which * bpf_core_type_size(struct rb_node___tree));
}

static inline void see_module_tree(void)
{
	u32 which = &mod_tree ? mod_tree_which() : 0;
	const struct rb_node___tree *node = mod_tree_first(which);

	for (u32 i = 0; i < MODULE_NODES_MAX && node; i++, node = rb_next(node)) {
		const struct module *mod = mod_tree_entry(node, which)->mod;

		if (mod)
			see(module_set, mod, MODULE_TREE);
	}
}

/** Which module that was seen has @p address in its code: a number below @p n, or @p n. */
static inline u32 module_of_address(u64 address, u32 n)
{
	for (u32 i = 0; i < n && i < MODULES_MAX; i++) {
		if (address - module_code[i].base < module_code[i].size)
			return i;
	}
	return n;
}

extern char _stext[] __ksym;
extern char _end[] __ksym;

/** Also tell of functions in no module. */
static inline void see_module_functions(void)
{
	const struct ftrace_page *pg = &ftrace_pages_start ? ftrace_pages_start : NULL;
	u32 n = min(seen_count(module_set), (u32)MODULES_MAX);

	for (u32 i = 0; i < n; i++)
		module_part((const struct module *)seen_at(module_set, i)->object, MODULE_PART_TEXT,
			    &module_code[i].base, &module_code[i].size);
	for (u32 i = 0; i < FTRACE_PAGES_MAX && pg; i++, pg = pg->next) {
		// All of a block are of one module, by address. While it is loaded they are in two places: the first or the
		// last may be in the code that is given up when the module has begun.
		u64 ip = pg->index > 0 ? pg->records->ip : 0;

		if (!ip || ip - (u64)_stext < (u64)(_end - _stext))
			continue;

		u32 at = module_of_address(ip, n);

		if (at >= n)
			at = module_of_address(kernel_array_at(pg->records, pg->index - 1)->ip, n);
		if (at < n)
			seen_at(module_set, at)->views |= MODULE_FTRACE;
		else
			alarm(hidden_objects, ip, CRITICAL,
			      "code of a module that is nowhere else: at=0x%llx functions=%d", ip,
			      pg->index);
	}
}

static inline void tell_module(const struct module *mod, u32 views, u32 missing)
{
	char missing_in[VIEW_NAMES], seen_in[VIEW_NAMES];

	view_names(missing_in, module_view_names, missing);
	view_names(seen_in, module_view_names, views);
	alarm(hidden_objects, (u64)mod | missing, CRITICAL,
	      "module is hidden: module=%s at=0x%llx missing_in=%s seen_in=%s", mod->name, (u64)mod,
	      missing_in, seen_in);
}

static inline void look_at_modules(void)
{
	u32 wanted = MODULE_LIST | MODULE_SYSFS | (&mod_tree ? MODULE_TREE : 0), counts[5] = {};
	bool complete;
	u32 n;

	seen_clear(module_set);
	complete = see_module_lists();
	see_module_tree();
	see_module_functions();
	n = seen_count(module_set);
	for (u32 i = 0; i < n; i++) {
		for (u32 view = 0; view < 5; view++)
			counts[view] += seen_at(module_set, i)->views >> view & 1;
	}
	row("modules=%u list=%u sysfs=%u tree=%u bugs=%u ftrace=%u", n, counts[0], counts[1],
	    counts[2], counts[3], counts[4]);
	for (u32 i = 0; i < n; i++) {
		const struct seen *seen = seen_at(module_set, i);
		const struct module *mod = (const struct module *)seen->object;
		u32 missing = wanted & ~seen->views;

		if (!complete || list_linked(&mod->list))
			missing &= ~MODULE_LIST;
		// It comes or goes.
		if (missing && mod->state == MODULE_STATE_LIVE && mod->name[0])
			tell_module(mod, seen->views, missing);
	}
}

#endif
