// SPDX-License-Identifier: GPL-2.0
/* Hooks: each counts, and passes on what it got. */
#include "lab_rootkit.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>
#include <net/tcp.h>
#include <asm/io.h>
#include <asm/unistd.h>

/* The kernel's constants and text are written through a second mapping of their page. */
static int poke(unsigned long address, const void *bytes, size_t size)
{
	struct page *page = pfn_to_page(__pa(address) >> PAGE_SHIFT);
	u8 *alias = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	if (!alias)
		return -ENOMEM;
	if (size == sizeof(u64))
		WRITE_ONCE(*(u64 *)(alias + offset_in_page(address)), *(const u64 *)bytes);
	else
		memcpy(alias + offset_in_page(address), bytes, size);
	vunmap(alias);
	return 0;
}

static int poke_pointer(const void *at, const void *value)
{
	return poke((unsigned long)at, &value, sizeof(value));
}

typedef long (*syscall_fn)(const struct pt_regs *regs);
static syscall_fn real_getuid;

static long hook_getuid(const struct pt_regs *regs)
{
	atomic_inc(&calls[SYSCALL]);
	return real_getuid(regs);
}

static syscall_fn *syscall_entry(int number)
{
	return (syscall_fn *)addresses[SYS_CALL_TABLE] + number;
}

int syscall_on(void)
{
	real_getuid = READ_ONCE(*syscall_entry(__NR_getuid));
	return poke_pointer(syscall_entry(__NR_getuid), hook_getuid);
}

void syscall_off(void)
{
	poke_pointer(syscall_entry(__NR_getuid), real_getuid);
}

#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
#define FTRACE_REGS struct ftrace_regs
#else
#define FTRACE_REGS struct pt_regs
#endif

static void notrace hook_ftrace(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				FTRACE_REGS *regs)
{
	atomic_inc(&calls[FTRACE]);
}

static struct ftrace_ops ftrace_hook = { .func = hook_ftrace };

int ftrace_on(void)
{
	/* Under whichever of its names ftrace knows it. */
	static char function[] = "*_sys_geteuid";
	int err = ftrace_set_filter(&ftrace_hook, function, sizeof(function) - 1, 1);

	return err ?: register_ftrace_function(&ftrace_hook);
}

void ftrace_off(void)
{
	unregister_ftrace_function(&ftrace_hook);
}

static int hook_kprobe(struct kprobe *p, struct pt_regs *regs)
{
	atomic_inc(&calls[KPROBE]);
	return 0;
}

static struct kprobe kprobe_hook;

int kprobe_on(void)
{
	kprobe_hook = (struct kprobe){
		.symbol_name = "__x64_sys_getgid",
		.pre_handler = hook_kprobe,
	};
	return register_kprobe(&kprobe_hook);
}

void kprobe_off(void)
{
	unregister_kprobe(&kprobe_hook);
}

static unsigned int hook_packet(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	atomic_inc(&calls[NETFILTER]);
	return NF_ACCEPT;
}

static struct nf_hook_ops packet_hook = {
	.hook = hook_packet,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_LOCAL_OUT,
	.priority = NF_IP_PRI_FIRST,
};

int netfilter_on(void)
{
	return nf_register_net_hook(&init_net, &packet_hook);
}

void netfilter_off(void)
{
	nf_unregister_net_hook(&init_net, &packet_hook);
}

static int hook_notifier(struct notifier_block *nb, unsigned long event, void *data)
{
	atomic_inc(&calls[NOTIFIER]);
	return NOTIFY_DONE;
}

static struct notifier_block notifier_hook = { .notifier_call = hook_notifier };

int notifier_on(void)
{
	return register_reboot_notifier(&notifier_hook);
}

void notifier_off(void)
{
	unregister_reboot_notifier(&notifier_hook);
}

static void hook_timer(struct timer_list *timer)
{
	atomic_inc(&calls[TIMER]);
	mod_timer(timer, jiffies + HZ);
}

static DEFINE_TIMER(timer_hook, hook_timer);

int timer_on(void)
{
	mod_timer(&timer_hook, jiffies + HZ);
	return 0;
}

void timer_off(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	timer_delete_sync(&timer_hook);
#else
	del_timer_sync(&timer_hook);
#endif
}

/* One byte of the padding in front of a system call's function, which nothing ever executes. */
static u8 *patched;
static u8 patched_was;

static bool is_padding(u8 byte)
{
	return byte == 0xcc || byte == 0x90;
}

int text_on(void)
{
	static const u8 ret = 0xc3;
	int number;

	for (number = 0; number < 300; number++) {
		u8 *function = (u8 *)*syscall_entry(number);

		if (is_padding(function[-1]) && is_padding(function[-2])) {
			patched = function - 1;
			patched_was = *patched;
			return poke((unsigned long)patched, &ret, 1);
		}
	}
	return -ENOENT;
}

void text_off(void)
{
	poke((unsigned long)patched, &patched_was, 1);
}

/* The operations of the directory /proc: a pointer to a table of our own. */
static const struct file_operations *real_proc_fops;
static struct file_operations proc_fops;
static struct file *proc_dir;

static int hook_iterate(struct file *file, struct dir_context *ctx)
{
	atomic_inc(&calls[FOPS]);
	return real_proc_fops->iterate_shared(file, ctx);
}

int fops_on(void)
{
	struct file *file = filp_open("/proc", O_RDONLY | O_DIRECTORY, 0);

	if (IS_ERR(file))
		return PTR_ERR(file);
	/* Files that are open keep the table, and may outlive the trick. */
	proc_dir = file;
	real_proc_fops = file_inode(file)->i_fop;
	proc_fops = *real_proc_fops;
	proc_fops.iterate_shared = hook_iterate;
	WRITE_ONCE(file_inode(file)->i_fop, &proc_fops);
	return 0;
}

void fops_off(void)
{
	WRITE_ONCE(file_inode(proc_dir)->i_fop, real_proc_fops);
	fput(proc_dir);
}

/* The read function of /dev/null: to memory that is no module's, and from there to where it belongs. */
static const struct file_operations *null_fops(void)
{
	return (const struct file_operations *)addresses[NULL_FOPS];
}

static void *real_null_read;
/* Made once, and kept: somebody may be in it. */
static u8 *outside;

int fops_outside_on(void)
{
	int (*set_memory_ro)(unsigned long addr, int pages) = (void *)addresses[SET_MEMORY_RO];
	int (*set_memory_x)(unsigned long addr, int pages) = (void *)addresses[SET_MEMORY_X];
	int err;

	if (!outside) {
		u8 *page = vmalloc(PAGE_SIZE);

		if (!page)
			return -ENOMEM;
		real_null_read = null_fops()->read;
		/* movabs $real_null_read, %rax; jmp *%rax */
		memcpy(page, "\x48\xb8", 2);
		memcpy(page + 2, &real_null_read, 8);
		memcpy(page + 10, "\xff\xe0", 2);
		/* No page may be written and executed. */
		err = set_memory_ro((unsigned long)page, 1) ?: set_memory_x((unsigned long)page, 1);
		if (err) {
			vfree(page);
			return err;
		}
		outside = page;
	}
	return poke_pointer(&null_fops()->read, outside);
}

void fops_outside_off(void)
{
	poke_pointer(&null_fops()->read, real_null_read);
}

/* TCP's operations are no constants. */
static void (*real_shutdown)(struct sock *sk, int how);

static void hook_shutdown(struct sock *sk, int how)
{
	atomic_inc(&calls[PROTO]);
	real_shutdown(sk, how);
}

int proto_on(void)
{
	real_shutdown = tcp_prot.shutdown;
	WRITE_ONCE(tcp_prot.shutdown, hook_shutdown);
	return 0;
}

void proto_off(void)
{
	WRITE_ONCE(tcp_prot.shutdown, real_shutdown);
}
