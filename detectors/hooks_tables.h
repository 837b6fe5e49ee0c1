/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the detector `hooks`: tables of operations, and the objects that refer to them.
 */
#ifndef HOOKS_TABLES_H
#define HOOKS_TABLES_H

#include "hooks_judge.h"

#define SYSCALLS_OF_V5_10 441
#define FILE_SYSTEMS_MAX 256
#define SUPER_BLOCKS_MAX 4096
#define PROC_ENTRIES_MAX 16384
#define PROC_PENDING_MAX 256U
#define CHAINS_MAX 1024
#define NAMESPACES_MAX 256
#define CORE_TABLES_MAX 256U

// Tables in the kernel's image.
#define CORE_TABLES(X)                                  \
	X(file_operations, memory_fops)                 \
	X(file_operations, null_fops)                   \
	X(file_operations, zero_fops)                   \
	X(file_operations, full_fops)                   \
	X(file_operations, mem_fops)                    \
	X(file_operations, port_fops)                   \
	X(file_operations, kmsg_fops)                   \
	X(file_operations, random_fops)                 \
	X(file_operations, urandom_fops)                \
	X(file_operations, misc_fops)                   \
	X(file_operations, tty_fops)                    \
	X(file_operations, def_chr_fops)                \
	X(file_operations, def_blk_fops)                \
	X(file_operations, pipefifo_fops)               \
	X(file_operations, socket_file_ops)             \
	X(file_operations, kernfs_file_fops)            \
	X(file_operations, kernfs_dir_fops)             \
	X(file_operations, shmem_file_operations)       \
	X(file_operations, simple_dir_operations)       \
	X(file_operations, proc_root_operations)        \
	X(file_operations, proc_tgid_base_operations)   \
	X(file_operations, proc_reg_file_ops)           \
	X(file_operations, proc_iter_file_ops)          \
	X(file_operations, proc_single_file_operations) \
	X(file_operations, proc_pid_maps_operations)    \
	X(file_operations, proc_sys_file_operations)    \
	X(seq_operations, modules_op)                   \
	X(seq_operations, kallsyms_op)                  \
	X(seq_operations, mounts_op)                    \
	X(seq_operations, tcp4_seq_ops)                 \
	X(seq_operations, tcp6_seq_ops)                 \
	X(seq_operations, udp_seq_ops)                  \
	X(seq_operations, udp6_seq_ops)                 \
	X(proto_ops, inet_stream_ops)                   \
	X(proto_ops, inet_dgram_ops)                    \
	X(proto_ops, inet6_stream_ops)                  \
	X(proto_ops, inet6_dgram_ops)                   \
	X(proto_ops, unix_stream_ops)                   \
	X(proto_ops, unix_dgram_ops)                    \
	X(proto_ops, netlink_ops)

enum core_kind {
	CORE_file_operations,
	CORE_seq_operations,
	CORE_proto_ops,
	CORE_proto,
	CORE_tty_ldisc_ops,
	CORE_SYSTEM_CALLS,
	CORE_SOFTIRQS,
};

struct core_table {
	u64 address;
	u32 size, kind;
};

static struct core_table core_tables[CORE_TABLES_MAX];
static u32 core_table_count;

static __always_inline void core_table(const void *table, u32 size, u32 kind)
{
	// A module may have a table of the same name, and the kernel none.
	if (!core_kernel_image((u64)table) || core_table_count >= CORE_TABLES_MAX)
		return;
	core_tables[core_table_count].address = (u64)table;
	core_tables[core_table_count].size = size;
	core_tables[core_table_count].kind = kind;
	core_table_count++;
}

#define CORE_EXTERN(type, table) extern char table[] __ksym __weak;
CORE_TABLES(CORE_EXTERN)
#define CORE_ADD(type, table) core_table(table, bpf_core_type_size(struct type), CORE_##type);

extern char sys_call_table[] __ksym __weak;
extern char ia32_sys_call_table[] __ksym __weak;

#define WHERE_IF(type, member)                                                           \
	if (kind == CORE_##type && offset == bpf_core_field_offset(struct type, member)) \
		return AT_##type##_##member;

static u32 core_where(u32 kind, u32 offset)
{
	HOOK_MEMBERS(WHERE_IF)
	if (kind == CORE_SYSTEM_CALLS)
		return AT_system_calls_entry;
	return kind == CORE_SOFTIRQS ? AT_softirqs_action : AT_operations_other;
}

static void protocols(void)
{
	const struct proto *prot;

	if (!&proto_list)
		return;
	list_for_each_entry (prot, &proto_list, node) {
		if (core_kernel_image((u64)prot))
			core_table(prot, bpf_core_field_offset(struct proto, memory_allocated),
				   CORE_proto);
	}
}

static void line_disciplines(void)
{
	if (!&tty_ldiscs)
		return;
	for (u32 i = 0; i < NR_LDISCS; i++) {
		const struct tty_ldisc_ops *ops = tty_ldiscs[i];

		if (core_kernel_image((u64)ops))
			core_table(ops, bpf_core_type_size(struct tty_ldisc_ops),
				   CORE_tty_ldisc_ops);
	}
}

// All words of the kernel's own tables: small numbers are flags, and what the image points to itself is right.
static void all_core_tables(void)
{
	core_table_count = 0;
	CORE_TABLES(CORE_ADD)
	core_table(sys_call_table, 8 * SYSCALLS_OF_V5_10, CORE_SYSTEM_CALLS);
	core_table(ia32_sys_call_table, 8 * SYSCALLS_OF_V5_10, CORE_SYSTEM_CALLS);
	core_table(softirq_vec, 8 * NR_SOFTIRQS, CORE_SOFTIRQS);
	protocols();
	line_disciplines();
	for (u32 i = 0; i < core_table_count; i++) {
		const struct core_table *table = &core_tables[i];

		for (u32 offset = 0; offset + 8 <= table->size; offset += 8) {
			u64 slot = table->address + offset, target = *(const u64 *)slot;

			checked++;
			if (core_kernel_image(target) || target < KERNEL_SPACE_START ||
			    target > -4096ULL)
				continue;
			note(slot, target, RULE_KERNEL, core_where(table->kind, offset));
		}
	}
}

// Objects of the kernel may only refer to tables of the kernel, those of a module to any.
static enum rule rule_of(u64 object)
{
	return core_kernel_image(object) ? RULE_KERNEL : RULE_KNOWN;
}

static void super_block(const struct super_block___operations *sb, enum rule rule)
{
	const struct dentry___operations *root = sb->s_root;
	const struct inode___operations *inode = root ? root->d_inode : NULL;

	note_member(sb, s_op, rule, super_block);
	if (!inode)
		return;
	note_member(root, d_op, rule, root_dentry);
	note_member(inode, i_op, rule, root_inode);
	note_member(inode, i_fop, rule, root_inode);
}

static void file_system(const struct file_system_type___operations *type, u32 *super_blocks)
{
	enum rule rule = rule_of((u64)type);
	struct hlist_node *node = type->fs_supers.first;

	note_member(type, init_fs_context, rule, file_system_type);
	note_member(type, kill_sb, rule, file_system_type);
	if (bpf_core_field_exists(struct file_system_type___mount, mount)) {
		const struct file_system_type___mount *old = (const void *)type;

		note_member(old, mount, rule, file_system_type);
	}
	for (; node && (*super_blocks)++ < SUPER_BLOCKS_MAX; node = node->next)
		super_block(container_of(node, struct super_block___operations, s_instances), rule);
}

static void all_file_systems(void)
{
	bool listed = bpf_core_field_exists(struct file_system_type___list, list);
	u64 next = &file_systems ? file_systems : 0;
	u32 super_blocks = 0;

	for (u32 i = 0; next && i < FILE_SYSTEMS_MAX; i++) {
		const struct file_system_type___operations *type = (const void *)next;

		if (listed) {
			struct hlist_node *node = (struct hlist_node *)next;

			type = (const void *)container_of(node, struct file_system_type___list,
							  list);
			next = (u64)node->next;
		} else {
			next = (u64)type->next;
		}
		file_system(type, &super_blocks);
	}
}

// Entries whose turn is still to come.
static u64 proc_pending[PROC_PENDING_MAX];
static u32 proc_pending_count;
static u64 proc_roots[NAMESPACES_MAX + 1];
static u32 proc_root_count;

static void proc_later(const struct rb_node *node)
{
	if (node && proc_pending_count < PROC_PENDING_MAX)
		proc_pending[proc_pending_count++] = (u64)node;
}

static void proc_entry(const struct proc_dir_entry *de)
{
	note_member(de, proc_iops, RULE_KNOWN, proc_dir_entry);
	note_member(de, proc_ops, RULE_KNOWN, proc_dir_entry);
	note_member(de, seq_ops, RULE_KNOWN, proc_dir_entry);
	note_member(de, write, RULE_KNOWN, proc_dir_entry);
}

// /proc, and the /proc/net of each network namespace.
static void list_proc_roots(void)
{
	const struct net___hooks *net;

	proc_root_count = 0;
	if (&proc_root)
		proc_roots[proc_root_count++] = (u64)&proc_root;
	list_for_each_entry (net, &net_namespace_list, list) {
		if (proc_root_count == ARRAY_SIZE(proc_roots))
			break;
		proc_roots[proc_root_count++] = (u64)net->proc_net;
	}
}

static void proc_entries(void)
{
	list_proc_roots();
	for (u32 root = 0, n = 0; root < proc_root_count; root++) {
		const struct proc_dir_entry *de = (const struct proc_dir_entry *)proc_roots[root];

		proc_pending_count = 0;
		while (de && n++ < PROC_ENTRIES_MAX) {
			proc_entry(de);
			proc_later(de->subdir.rb_node);
			if (!proc_pending_count)
				break;

			struct rb_node *node = (struct rb_node *)proc_pending[--proc_pending_count];

			proc_later(node->rb_left);
			proc_later(node->rb_right);
			de = container_of(node, struct proc_dir_entry, subdir_node);
		}
	}
}

static void char_devices(void)
{
	struct kobj_map *map = &cdev_map ? cdev_map : NULL;

	for (u32 i = 0; map && i < ARRAY_SIZE(map->probes); i++) {
		const struct probe *probe = map->probes[i];

		for (u32 n = 0; probe && n < CHAINS_MAX; n++, probe = probe->next) {
			const struct cdev *cdev = probe->data;

			if (!cdev || !exact_match || probe->get != exact_match)
				continue;
			note_member(cdev, ops, rule_of((u64)cdev), cdev);
		}
	}
}

static void socket_families(void)
{
	if (!&net_families)
		return;
	for (u32 family = 0; family < NET_FAMILIES; family++) {
		const struct net_proto_family *pf = net_families[family];

		if (pf)
			note_member(pf, create, rule_of((u64)pf), net_proto_family);
	}
}

static void packet_handlers(void)
{
	for (u32 i = 0; i < 2 * MAX_INET_PROTOS; i++) {
		struct net_protocol **protos = i < MAX_INET_PROTOS ? inet_protos : inet6_protos;
		const struct net_protocol *prot = protos ? protos[i % MAX_INET_PROTOS] : NULL;

		if (!prot)
			continue;
		note_member(prot, handler, rule_of((u64)prot), net_protocol);
		note_member(prot, err_handler, rule_of((u64)prot), net_protocol);
	}
}

static void binary_formats(void)
{
	const struct linux_binfmt *fmt;

	if (!&formats)
		return;
	list_for_each_entry (fmt, &formats, lh)
		note_member(fmt, load_binary, rule_of((u64)fmt), linux_binfmt);
}

static void all_tables(void)
{
	all_core_tables();
	all_file_systems();
	proc_entries();
	char_devices();
	socket_families();
	packet_handlers();
	binary_formats();
}

#endif
