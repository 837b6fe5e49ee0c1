// SPDX-License-Identifier: GPL-2.0
/*
 * What rootkits do to a kernel, one trick at a time, so that the detectors that find them can be tested. It loads in
 * guests of GPUSentinel's lab and nowhere else, does nothing until told, acts on one test process only, never
 * changes what a call returns, and undoes all of it when told.
 *
 *	insmod lab_rootkit.ko addresses=0x...,0x...,0x...,0x...,0x...
 *	cd /sys/module/lab_rootkit/parameters
 *	echo 123 >pid; echo hide-pid >on; cat state; echo hide-pid >off; echo 1 >heal
 *
 * It looks up no symbols of its own: what the kernel does not export comes from whoever loads it.
 */
#include "lab_rootkit.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/cpufeature.h>

/* Set by lab/guest boot, on the guest's own command line. */
#define LAB_TOKEN "gpusentinel_lab=1"

unsigned long addresses[ADDRESSES];
static int address_count;
module_param_array(addresses, ulong, &address_count, 0400);
MODULE_PARM_DESC(
	addresses,
	"of sys_call_table, modules, null_fops, set_memory_ro, set_memory_x, in hexadecimal");

int pid;
module_param(pid, int, 0600);
MODULE_PARM_DESC(pid, "of the process " VICTIM
		      ", for hide-task, hide-pid and the tricks on credentials");

atomic_t calls[TRICKS];

static struct trick {
	const char *name;
	int (*on)(void);
	void (*off)(void);
	bool active;
} tricks[] = {
	[HIDE_TASK] = { "hide-task", hide_task, show_task },
	[HIDE_PID] = { "hide-pid", hide_pid, show_pid },
	[HIDE_MODULE] = { "hide-module", hide_module, show_module },
	[SYSCALL] = { "syscall", syscall_on, syscall_off },
	[FTRACE] = { "ftrace", ftrace_on, ftrace_off },
	[KPROBE] = { "kprobe", kprobe_on, kprobe_off },
	[NETFILTER] = { "netfilter", netfilter_on, netfilter_off },
	[NOTIFIER] = { "notifier", notifier_on, notifier_off },
	[TIMER] = { "timer", timer_on, timer_off },
	[TEXT] = { "text", text_on, text_off },
	[FOPS] = { "fops", fops_on, fops_off },
	[FOPS_OUTSIDE] = { "fops-outside", fops_outside_on, fops_outside_off },
	[PROTO] = { "proto", proto_on, proto_off },
	[CRED] = { "cred", cred_on, cred_off },
	[CRED_CAPS] = { "cred-caps", cred_caps_on, cred_off },
	[CRED_INIT] = { "cred-init", cred_init_on, cred_init_off },
};

/* Writes to parameters of one module exclude each other. */
static int switch_trick(const char *value, bool on)
{
	struct trick *trick;
	int err = 0;

	for (trick = tricks; trick < tricks + ARRAY_SIZE(tricks); trick++) {
		if (!sysfs_streq(value, trick->name))
			continue;
		if (trick->active == on)
			return 0;
		if (on)
			err = trick->on();
		else
			trick->off();
		if (!err) {
			trick->active = on;
			pr_info("lab_rootkit: %s is %s\n", trick->name, on ? "on" : "off");
		}
		return err;
	}
	pr_err("lab_rootkit: no trick is named \"%s\"\n", value);
	return -EINVAL;
}

static int set_on(const char *value, const struct kernel_param *param)
{
	return switch_trick(value, true);
}

static int set_off(const char *value, const struct kernel_param *param)
{
	return switch_trick(value, false);
}

static int set_heal(const char *value, const struct kernel_param *param)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(tricks); i++)
		switch_trick(tricks[i].name, false);
	return 0;
}

static int get_state(char *buffer, const struct kernel_param *param)
{
	int i, length = 0;

	for (i = 0; i < ARRAY_SIZE(tricks); i++)
		length += scnprintf(buffer + length, PAGE_SIZE - length, "%s %s calls=%d\n",
				    tricks[i].name, tricks[i].active ? "on" : "off",
				    atomic_read(&calls[i]));
	return length;
}

static const struct kernel_param_ops on_ops = { .set = set_on };
module_param_cb(on, &on_ops, NULL, 0200);
MODULE_PARM_DESC(on, "the trick to begin");

static const struct kernel_param_ops off_ops = { .set = set_off };
module_param_cb(off, &off_ops, NULL, 0200);
MODULE_PARM_DESC(off, "the trick to undo");

static const struct kernel_param_ops heal_ops = { .set = set_heal };
module_param_cb(heal, &heal_ops, NULL, 0200);
MODULE_PARM_DESC(heal, "undoes all of them");

static const struct kernel_param_ops state_ops = { .get = get_state };
module_param_cb(state, &state_ops, NULL, 0400);
MODULE_PARM_DESC(state, "each trick, whether it is on, and how often its hook was called");

/* By the file that shows it: saved_command_line is not exported. */
static bool in_the_lab(void)
{
	struct file *file;
	char *line, *word, *rest;
	loff_t at = 0;
	ssize_t n = -ENOMEM;
	bool found = false;

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR))
		return false;
	file = filp_open("/proc/cmdline", O_RDONLY, 0);
	if (IS_ERR(file))
		return false;
	line = kzalloc(PAGE_SIZE, GFP_KERNEL);
	if (line)
		n = kernel_read(file, line, PAGE_SIZE - 1, &at);
	for (rest = line; n > 0 && (word = strsep(&rest, " \n"));)
		found |= !strcmp(word, LAB_TOKEN);
	kfree(line);
	fput(file);
	return found;
}

static int __init lab_rootkit_init(void)
{
	int i;

	if (!in_the_lab()) {
		pr_err("lab_rootkit: this is no guest of the lab\n");
		return -EPERM;
	}
	for (i = 0; i < ADDRESSES; i++) {
		if (i >= address_count || !addresses[i]) {
			pr_err("lab_rootkit: address %d is missing\n", i);
			return -EINVAL;
		}
	}
	return 0;
}

/* No exit: somebody may still be in a hook. */
module_init(lab_rootkit_init);
MODULE_DESCRIPTION("A rootkit for guests of GPUSentinel's lab, to test what finds rootkits");
MODULE_LICENSE("GPL");
