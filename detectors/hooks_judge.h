/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the detector `hooks`: where a pointer leads, and what is said of it. Whoever finds a pointer that leads out of the
 * kernel's image notes it; all of them are judged at the end of the run. Modules are listed once a run; what is in none of
 * them is looked up again, as one may have come in the meantime.
 */
#ifndef HOOKS_JUDGE_H
#define HOOKS_JUDGE_H

#include <gpusentinel/kernel.h>
#include <gpusentinel/kernel/callback.h>
#include <gpusentinel/kernel/text.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define RANGES_MAX (4 * MODULES_MAX)
#define CACHE_SIZE 256U
#define NO_RANGE (~0U)
// Pointers of one run that are looked into in depth, and rows.
#define SUSPECTS_MAX 256U
#define NOTES_MAX 8192U
#define ROWS_MAX 512U

ALARMS(pointers, 128, .rise_ms = 500);

// Memory of the modules on the list.
struct range {
	u64 base;
	u64 owner;
	u32 size;
};

static struct range ranges[RANGES_MAX];
static u32 range_count;
// The range of a page that was looked up in this run.
static u64 cache_page[CACHE_SIZE];
static u32 cache_range[CACHE_SIZE];
static u32 suspects, rows, checked;

// Where pointers are found: table and member. The first ones are those of tables in the kernel's image.
#define HOOK_MEMBERS(X)                    \
	X(file_operations, read)           \
	X(file_operations, write)          \
	X(file_operations, read_iter)      \
	X(file_operations, write_iter)     \
	X(file_operations, iterate_shared) \
	X(file_operations, unlocked_ioctl) \
	X(file_operations, mmap)           \
	X(file_operations, open)           \
	X(file_operations, release)        \
	X(seq_operations, start)           \
	X(seq_operations, stop)            \
	X(seq_operations, next)            \
	X(seq_operations, show)            \
	X(proto_ops, bind)                 \
	X(proto_ops, connect)              \
	X(proto_ops, accept)               \
	X(proto_ops, poll)                 \
	X(proto_ops, ioctl)                \
	X(proto_ops, sendmsg)              \
	X(proto_ops, recvmsg)              \
	X(proto, close)                    \
	X(proto, connect)                  \
	X(proto, accept)                   \
	X(proto, ioctl)                    \
	X(proto, shutdown)                 \
	X(proto, sendmsg)                  \
	X(proto, recvmsg)                  \
	X(proto, get_port)                 \
	X(tty_ldisc_ops, read)             \
	X(tty_ldisc_ops, write)            \
	X(tty_ldisc_ops, receive_buf)      \
	X(tty_ldisc_ops, receive_buf2)

#define HOOK_OBJECTS(X)                          \
	X(operations, other)                     \
	X(system_calls, entry)                   \
	X(softirqs, action)                      \
	X(super_block, s_op)                     \
	X(root_dentry, d_op)                     \
	X(root_inode, i_op)                      \
	X(root_inode, i_fop)                     \
	X(file_system_type, init_fs_context)     \
	X(file_system_type, kill_sb)             \
	X(file_system_type, mount)               \
	X(proc_dir_entry, proc_iops)             \
	X(proc_dir_entry, proc_ops)              \
	X(proc_dir_entry, seq_ops)               \
	X(proc_dir_entry, write)                 \
	X(cdev, ops)                             \
	X(net_proto_family, create)              \
	X(net_protocol, handler)                 \
	X(net_protocol, err_handler)             \
	X(linux_binfmt, load_binary)             \
	X(ftrace_ops, func)                      \
	X(ftrace_ops, saved_func)                \
	X(ftrace_func_entry, direct)             \
	X(kprobe, pre_handler)                   \
	X(kprobe, post_handler)                  \
	X(kretprobe, handler)                    \
	X(kretprobe, entry_handler)              \
	X(tracepoint, func)                      \
	X(nf_hook_entry, hook)                   \
	X(packet_type, func)                     \
	X(security_hook, hook)                   \
	X(security_hook, call)                   \
	X(panic_notifier_list, notifier_call)    \
	X(die_chain, notifier_call)              \
	X(keyboard_notifier_list, notifier_call) \
	X(vt_notifier_list, notifier_call)       \
	X(inet6addr_chain, notifier_call)        \
	X(netlink_chain, notifier_call)          \
	X(reboot_notifier_list, notifier_call)   \
	X(module_notify_list, notifier_call)     \
	X(inetaddr_chain, notifier_call)         \
	X(oom_notify_list, notifier_call)        \
	X(crypto_chain, notifier_call)           \
	X(netdev_chain, notifier_call)           \
	X(input_handler, event)                  \
	X(input_handler, events)                 \
	X(input_handler, filter)                 \
	X(irq_desc, handle_irq)                  \
	X(irqaction, handler)                    \
	X(irqaction, thread_fn)                  \
	X(timer_list, function)                  \
	X(delayed_work, func)                    \
	X(hrtimer, function)                     \
	X(kthread, threadfn)                     \
	X(worker, current_func)

#define AT_ENUM(table, member) AT_##table##_##member,
enum where { HOOK_MEMBERS(AT_ENUM) HOOK_OBJECTS(AT_ENUM) AT_COUNT };

struct where_name {
	char table[24], member[16];
};

#define AT_NAME(table, member) { #table, #member },
static const struct where_name where_names[AT_COUNT] = { HOOK_MEMBERS(AT_NAME)
								 HOOK_OBJECTS(AT_NAME) };

enum place {
	PLACE_KERNEL,
	PLACE_MODULE,
	// BPF programs, and trampolines.
	PLACE_GENERATED,
	PLACE_HIDDEN,
	PLACE_NOWHERE,
};

// Whose a pointer is allowed to be.
enum rule {
	// The kernel's own.
	RULE_KERNEL,
	// Whoever registered it: any that is known.
	RULE_KNOWN,
	// The same, and modules are shown.
	RULE_SHOWN,
};

struct name {
	char text[56];
};

static void list_ranges(void)
{
	struct module *mod;
	u32 modules_seen = 0;

	range_count = 0;
	for (u32 i = 0; i < CACHE_SIZE; i++)
		cache_page[i] = 0;
	list_for_each_entry (mod, &modules, list) {
		if (modules_seen++ == MODULES_MAX)
			break;
		for (u32 part = 0; part < MODULE_RANGES; part++) {
			u64 base;
			u32 size;

			module_range(mod, part, &base, &size);
			if (!base || !size || range_count == RANGES_MAX)
				continue;
			ranges[range_count].base = base;
			ranges[range_count].size = size;
			ranges[range_count].owner = (u64)mod;
			range_count++;
		}
	}
}

static u32 range_of(u64 address)
{
	u64 page = address >> PAGE_SHIFT;
	u32 at = page % CACHE_SIZE, i;

	if (cache_page[at] == page)
		return cache_range[at];
	for (i = 0; i < range_count; i++) {
		if (address - ranges[i].base < ranges[i].size)
			break;
	}
	if (i == range_count)
		return NO_RANGE;
	cache_page[at] = page;
	cache_range[at] = i;
	return i;
}

static bool module_listed(const struct module *wanted)
{
	struct module *mod;

	list_for_each_entry (mod, &modules, list) {
		if (mod == wanted)
			return true;
	}
	return false;
}

static bool module_holds(const struct module *mod, u64 address)
{
	for (u32 part = 0; part < MODULE_RANGES; part++) {
		u64 base;
		u32 size;

		module_range(mod, part, &base, &size);
		if (address - base < size)
			return true;
	}
	return false;
}

// By the tree that the kernel's own look-up goes by, or by what /sys/module shows.
static const struct module *module_off_list(u64 address)
{
	const struct module *mod = mod_find(address);
	struct kset *kset = &module_kset ? module_kset : NULL;
	const struct module_kobject___mod *mk;

	if (mod || !kset)
		return mod;
	list_for_each_entry (mk, &kset->list, kobj.entry) {
		if (mk->mod && module_holds(mk->mod, address))
			return mk->mod;
	}
	return NULL;
}

static enum place place_of(u64 address, const struct module **mod)
{
	u32 range;

	*mod = NULL;
	if (core_kernel_image(address))
		return PLACE_KERNEL;
	range = range_of(address);
	if (range != NO_RANGE) {
		*mod = (const struct module *)ranges[range].owner;
		return PLACE_MODULE;
	}
	if (suspects++ >= SUSPECTS_MAX)
		return PLACE_GENERATED;
	if (is_ftrace_trampoline(address) || is_bpf_text_address(address))
		return PLACE_GENERATED;
	*mod = module_off_list(address);
	if (!*mod)
		return PLACE_NOWHERE;
	return module_listed(*mod) ? PLACE_MODULE : PLACE_HIDDEN;
}

struct note {
	u64 slot, target;
	u32 where;
	enum rule rule;
};

static struct note notes[NOTES_MAX];
static u32 note_count;

static __always_inline void note(u64 slot, u64 target, enum rule rule, u32 where)
{
	checked++;
	if (!target || core_kernel_image(target) || note_count >= NOTES_MAX)
		return;
	notes[note_count].slot = slot;
	notes[note_count].target = target;
	notes[note_count].where = where;
	notes[note_count].rule = rule;
	note_count++;
}

// A member of @ptr that holds a pointer.
#define note_member(ptr, member, rule, table) \
	note((u64) & (ptr)->member, (u64)(ptr)->member, rule, AT_##table##_##member)

static void judge(const struct note *n)
{
	const struct where_name *where = &where_names[min(n->where, AT_COUNT - 1U)];
	const struct module *mod;
	struct name name = { "-" };
	enum place place = place_of(n->target, &mod);
	enum severity severity = place == PLACE_MODULE ? ERROR : CRITICAL;
	struct name what = { "leads outside of the kernel and its modules" };

	if (mod)
		__builtin_memcpy(name.text, mod->name, sizeof(name.text));
	if (n->rule == RULE_SHOWN && rows++ < ROWS_MAX)
		row("table=%s member=%s at=%pS target=%pS module=%s", where->table, where->member,
		    (void *)n->slot, (void *)n->target, name.text);
	if (place == PLACE_GENERATED || (place == PLACE_MODULE && n->rule != RULE_KERNEL))
		return;
	if (place == PLACE_MODULE)
		what = (struct name){ "the kernel's own leads into a module" };
	if (place == PLACE_HIDDEN)
		what = (struct name){ "leads into a module that is hidden" };
	// It may have been replaced while it was looked at.
	if (READ_ONCE(*(const u64 *)n->slot) == n->target)
		alarm(pointers, n->slot, severity,
		      "%s: table=%s member=%s at=%pS target=%pS module=%s", what.text, where->table,
		      where->member, (void *)n->slot, (void *)n->target, name.text);
}

#endif
