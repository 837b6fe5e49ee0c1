/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where the kernel keeps pointers to functions that it calls: operation tables and what refers to them, hooks, chains,
 * interrupts, timers. Not part of kernel.h: for detectors that follow such pointers. Types that have other members for other purposes are flavors here: `struct inode___operations`.
 */
#ifndef GPUSENTINEL_KERNEL_CALLBACK_H
#define GPUSENTINEL_KERNEL_CALLBACK_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/patching.h>
#include <gpusentinel/kernel/sched.h>

/** include/linux/rbtree_types.h */
struct rb_node {
	struct rb_node *rb_left;
	struct rb_node *rb_right;
} __kernel_type;

struct rb_root {
	struct rb_node *rb_node;
} __kernel_type;

/* Operation tables are declared for their size, and for the names of members. */

/** include/linux/fs.h */
struct file_operations {
	void *llseek, *read, *write, *read_iter, *write_iter, *iterate_shared, *poll,
		*unlocked_ioctl, *compat_ioctl, *mmap, *open, *flush, *release, *fsync,
		*splice_read, *splice_write;
} __kernel_type;

struct inode_operations {
	void *lookup, *permission, *getattr, *setattr;
} __kernel_type;

struct super_operations {
	void *alloc_inode;
} __kernel_type;

/** include/linux/seq_file.h */
struct seq_operations {
	void *start, *stop, *next, *show;
} __kernel_type;

/** include/linux/net.h */
struct proto_ops {
	void *release, *bind, *connect, *accept, *poll, *ioctl, *sendmsg, *recvmsg;
} __kernel_type;

/** include/net/sock.h; functions stand in front of memory_allocated. */
struct proto {
	void *close, *connect, *disconnect, *accept, *ioctl, *init, *shutdown, *sendmsg, *recvmsg,
		*get_port;
	void *memory_allocated;
	void *owner;
	struct list_head node;
} __kernel_type;

/** include/linux/tty_ldisc.h */
struct tty_ldisc_ops {
	void *open, *read, *write, *receive_buf, *receive_buf2;
} __kernel_type;

/** include/linux/fs.h */
struct inode___operations {
	const void *i_op;
	const void *i_fop;
} __kernel_type;

struct dentry___operations {
	struct inode___operations *d_inode;
	const void *d_op;
} __kernel_type;

struct super_block___operations {
	const void *s_op;
	struct dentry___operations *s_root;
	/** Chains file_system_type.fs_supers. */
	struct hlist_node s_instances;
} __kernel_type;

struct file_system_type___operations {
	const char *name;
	void *init_fs_context;
	void *kill_sb;
	void *owner;
	struct file_system_type___operations *next;
	struct hlist_head fs_supers;
} __kernel_type;

/** Old file systems; newer kernels have none that mount this way. */
struct file_system_type___mount {
	void *mount;
} __kernel_type;

/** Newer kernels chain them by an hlist, older ones by next. */
struct file_system_type___list {
	struct hlist_node list;
} __kernel_type;

/** fs/filesystems.c; its first word is the first of them in either form. */
extern u64 file_systems __ksym __weak;

/** fs/proc/internal.h */
struct proc_dir_entry {
	const void *proc_iops;
	const void *proc_ops;
	/** A table, or a function. */
	const void *seq_ops;
	void *write;
	struct rb_root subdir;
	struct rb_node subdir_node;
	const char *name;
} __kernel_type;

extern struct proc_dir_entry proc_root __ksym __weak;

/** include/linux/cdev.h, drivers/base/map.c */
struct cdev {
	const void *ops;
} __kernel_type;

struct probe {
	struct probe *next;
	/** What finds the device; exact_match() for a struct cdev at data. */
	void *get;
	void *data;
} __kernel_type;

struct kobj_map {
	struct probe *probes[255];
} __kernel_type;

extern struct kobj_map *cdev_map __ksym __weak;
extern char exact_match[] __ksym __weak;

/** net/core/sock.c: every struct proto. */
extern struct list_head proto_list __ksym __weak;

/** net/socket.c: struct net_proto_family by family. */
struct net_proto_family {
	void *create;
} __kernel_type;

extern struct net_proto_family *net_families[] __ksym __weak;
/** AF_MAX of v5.10; later ones are greater. */
#define NET_FAMILIES 45

/** include/net/protocol.h: what takes the packets of each protocol. */
struct net_protocol {
	void *handler;
	void *err_handler;
} __kernel_type;

extern struct net_protocol *inet_protos[] __ksym __weak;
extern struct net_protocol *inet6_protos[] __ksym __weak;
#define MAX_INET_PROTOS 256

/** include/linux/netdevice.h: what takes the frames of each type. */
struct packet_type {
	void *func;
	struct list_head list;
} __kernel_type;

extern struct list_head ptype_base[] __ksym __weak;
#define PTYPE_HASH_SIZE 16
/** Of each network namespace since v6.15 ("net: Add ptype_all and ptype_specific to struct net"). */
extern struct list_head ptype_all __ksym __weak;

/** include/linux/netfilter.h */
struct nf_hook_entry {
	void *hook;
} __kernel_type;

struct nf_hook_entries {
	u16 num_hook_entries;
	/** As many. */
	struct nf_hook_entry hooks[0];
} __kernel_type;

#define MAX_HOOK_COUNT 1024

struct netns_nf {
	struct nf_hook_entries *hooks_ipv4[5];
	struct nf_hook_entries *hooks_ipv6[5];
	struct nf_hook_entries *hooks_arp[3];
	struct nf_hook_entries *hooks_bridge[5];
} __kernel_type;

struct net___hooks {
	struct list_head list;
	struct proc_dir_entry *proc_net;
	struct netns_nf nf;
} __kernel_type;

/** include/linux/ftrace.h */
struct ftrace_ops___functions {
	void *func;
	struct ftrace_ops___functions *next;
	/** What was registered, where func is what the kernel calls in its place. */
	void *saved_func;
	unsigned long trampoline;
	unsigned long trampoline_size;
} __kernel_type;

/** include/linux/kprobes.h */
struct kprobe___functions {
	struct hlist_node hlist;
	/** Probes of one place, of which the first is the one that the kernel made for all of them. */
	struct list_head list;
	void *addr;
	void *pre_handler;
	void *post_handler;
} __kernel_type;

struct kretprobe {
	struct kprobe___functions kp;
	void *handler;
	void *entry_handler;
} __kernel_type;

extern char aggr_pre_handler[] __ksym __weak;
extern char pre_handler_kretprobe[] __ksym __weak;

/** include/linux/tracepoint-defs.h; an array that ends with NULL. */
struct tracepoint_func {
	void *func;
} __kernel_type;

struct tracepoint___functions {
	struct tracepoint_func *funcs;
} __kernel_type;

/** include/linux/lsm_hooks.h */
union security_list_options {
	/** One of many functions. */
	void *binder_set_context_mgr;
} __kernel_type;

struct security_hook_list {
	union security_list_options hook;
} __kernel_type;

struct security_hook_list___list {
	struct hlist_node list;
} __kernel_type;

/** Heads of lists of struct security_hook_list, one a hook. */
struct security_hook_heads {
	struct hlist_head binder_set_context_mgr;
} __kernel_type;

extern struct security_hook_heads security_hook_heads __ksym __weak;

/**
 * Since Linux kernel commit 417c5643cd67 ("lsm: replace indirect LSM hook calls with static calls") (in v6.12), an array
 * of static calls for each hook.
 */
struct lsm_static_call {
	struct static_call_key *key;
	struct security_hook_list *hl;
} __kernel_type;

struct lsm_static_calls_table {
	struct lsm_static_call binder_set_context_mgr[1];
} __kernel_type;

extern struct lsm_static_calls_table static_calls_table __ksym __weak;

/** include/linux/notifier.h */
struct notifier_block {
	void *notifier_call;
	struct notifier_block *next;
} __kernel_type;

struct atomic_notifier_head {
	struct notifier_block *head;
} __kernel_type;

struct blocking_notifier_head {
	struct notifier_block *head;
} __kernel_type;

struct raw_notifier_head {
	struct notifier_block *head;
} __kernel_type;

extern struct atomic_notifier_head panic_notifier_list __ksym __weak;
extern struct atomic_notifier_head die_chain __ksym __weak;
extern struct atomic_notifier_head inet6addr_chain __ksym __weak;
extern struct atomic_notifier_head keyboard_notifier_list __ksym __weak;
extern struct atomic_notifier_head vt_notifier_list __ksym __weak;
extern struct atomic_notifier_head netlink_chain __ksym __weak;
extern struct blocking_notifier_head reboot_notifier_list __ksym __weak;
extern struct blocking_notifier_head module_notify_list __ksym __weak;
extern struct blocking_notifier_head inetaddr_chain __ksym __weak;
extern struct blocking_notifier_head oom_notify_list __ksym __weak;
extern struct blocking_notifier_head crypto_chain __ksym __weak;
extern struct raw_notifier_head netdev_chain __ksym __weak;

/** include/linux/interrupt.h */
struct irqaction {
	void *handler;
	void *thread_fn;
	struct irqaction *next;
	const char *name;
} __kernel_type;

struct irq_desc {
	void *handle_irq;
	struct irqaction *action;
} __kernel_type;

/** Of each CPU: what its interrupt vectors belong to, or small numbers. arch/x86/include/asm/hw_irq.h */
extern struct irq_desc *vector_irq[] __ksym __weak;
#define NR_VECTORS 256

/** kernel/softirq.c: one function each. */
extern char softirq_vec[] __ksym __weak;
#define NR_SOFTIRQS 10

/** kernel/time/timer.c */
struct timer_list {
	struct hlist_node entry;
	void *function;
} __kernel_type;

struct timer_base {
	/** A bit for each of the vectors. */
	unsigned long pending_map[9];
	struct hlist_head vectors[576];
} __kernel_type;

extern struct timer_base timer_bases[] __ksym __weak;
/** Declared to know that it is there: with it came a third base (in v6.9). */
struct tmigr_cpu {
	bool online;
} __kernel_type;

#define NR_TIMER_BASES (bpf_core_type_exists(struct tmigr_cpu) ? 3 : 2)

struct work_struct___function {
	void *func;
} __kernel_type;

struct delayed_work {
	struct work_struct___function work;
	struct timer_list timer;
} __kernel_type;

/** The function of a timer that queues a work. */
extern char delayed_work_timer_fn[] __ksym __weak;

/** kernel/time/hrtimer.c */
struct hrtimer {
	/** Begins with a struct rb_node. */
	struct rb_node node;
	void *function;
} __kernel_type;

struct hrtimer_clock_base {
	/** Begins with a struct rb_root. */
	struct rb_root active;
} __kernel_type;

struct hrtimer_cpu_base {
	struct hrtimer_clock_base clock_base[8];
} __kernel_type;

extern struct hrtimer_cpu_base hrtimer_bases __ksym __weak;

/** fs/exec.c: every struct linux_binfmt. */
struct linux_binfmt {
	struct list_head lh;
	void *load_binary;
} __kernel_type;

extern struct list_head formats __ksym __weak;

/** drivers/input/input.c: every struct input_handler. */
struct input_handler {
	void *event;
	void *events;
	void *filter;
	const char *name;
	struct list_head node;
} __kernel_type;

extern struct list_head input_handler_list __ksym __weak;

/** drivers/tty/tty_ldisc.c */
extern struct tty_ldisc_ops *tty_ldiscs[] __ksym __weak;
#define NR_LDISCS 30

#endif
