// SPDX-License-Identifier: GPL-2.0
/*
 * Faults that only the kernel can have. For guests of the lab: they make a machine unusable.
 *
 *	insmod lab_fault.ko
 *	cd /sys/module/lab_fault/parameters; echo 1 >cpu; echo 5 >seconds; echo hardlockup >fault
 *
 * The write succeeds, and the fault begins after delay_ms, when whoever wrote has had its answer. "heal" ends all
 * faults that can end.
 */
#include "fault.h"

#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <asm/msr.h>
#include <asm/tsc.h>

int fault_cpu;
module_param_named(cpu, fault_cpu, int, 0644);
MODULE_PARM_DESC(cpu, "the CPU on which it happens");

unsigned int fault_seconds;
module_param_named(seconds, fault_seconds, uint, 0644);
MODULE_PARM_DESC(seconds, "how long a fault lasts that can end; 0: for ever");

unsigned int fault_delay_ms = 300;
module_param_named(delay_ms, fault_delay_ms, uint, 0644);
MODULE_PARM_DESC(delay_ms, "time from the write to the fault");

unsigned int fault_rate = 8192;
module_param_named(rate, fault_rate, uint, 0644);
MODULE_PARM_DESC(rate, "KiB that a leak takes in a second");

unsigned int fault_count;
module_param_named(count, fault_count, uint, 0644);
MODULE_PARM_DESC(count, "MiB that a leak takes; 0: all that there is");

// How often someone healed the guest.
static atomic_t heals;
static DECLARE_WAIT_QUEUE_HEAD(healed);

void fault_begins(const char *name, struct fault_end *ret)
{
	msleep(fault_delay_ms);
	*ret = (struct fault_end){
		.start = rdtsc(),
		.cycles = (u64)fault_seconds * 1000 * tsc_khz,
		.heals = atomic_read(&heals),
	};
	pr_emerg("lab_fault: %s begins on CPU %d\n", name, fault_cpu);
}

bool fault_over(const struct fault_end *end)
{
	return atomic_read(&heals) != end->heals ||
	       (end->cycles && rdtsc() - end->start >= end->cycles);
}

// mdelay() may take its word for a delay from an instruction that an emulator leaves out.
void fault_spin(const struct fault_end *end)
{
	while (!fault_over(end))
		cpu_relax();
}

static long patience(const struct fault_end *end)
{
	return end->cycles ? (long)fault_seconds * HZ + 1 : MAX_SCHEDULE_TIMEOUT;
}

void fault_wait_uninterruptible(const struct fault_end *end)
{
	wait_event_timeout(healed, fault_over(end), patience(end));
}

void fault_wait_interruptible(const struct fault_end *end)
{
	wait_event_interruptible_timeout(healed, fault_over(end), patience(end));
}

void fault_ended(const char *name)
{
	pr_emerg("lab_fault: %s is over\n", name);
}

struct task_struct *fault_thread(int (*run)(void *data), void *data, int cpu, const char *name)
{
	struct task_struct *task = kthread_create(run, data, "lab-%s", name);

	if (IS_ERR(task))
		return task;
	if (cpu >= 0)
		kthread_bind(task, cpu);
	wake_up_process(task);
	return task;
}

static int waiter(void *unused)
{
	pr_emerg("lab_fault: the waiter runs\n");
	return 0;
}

struct task_struct *fault_waiter_create(void)
{
	struct task_struct *task = kthread_create(waiter, NULL, "lab-waiter");

	if (!IS_ERR(task))
		kthread_bind(task, raw_smp_processor_id());
	return task;
}

void fault_waiter_wake(struct task_struct *waiter)
{
	if (!IS_ERR(waiter))
		wake_up_process(waiter);
}

int fault_other_cpu(void)
{
	int cpu;

	for_each_online_cpu (cpu) {
		if (cpu != fault_cpu)
			return cpu;
	}
	return -1;
}

static const struct {
	const char *name;
	int (*run)(void *name);
	bool all_cpus, two_cpus;
} faults[] = {
	{ "softlockup", fault_softlockup },
	{ "hardlockup", fault_hardlockup },
	{ "freeze", fault_freeze, .all_cpus = true },
	{ "dstate", fault_dstate },
	{ "spin-aa", fault_spin_aa },
	{ "spin-abba", fault_spin_abba, .two_cpus = true },
	{ "mutex-abba", fault_mutex_abba },
	{ "rcu-spin", fault_rcu_spin },
	{ "rcu-sleep", fault_rcu_sleep },
	{ "leak-slab", fault_leak },
	{ "leak-cache", fault_leak },
	{ "leak-vmalloc", fault_leak },
	{ "leak-pages", fault_leak },
	{ "oops", fault_oops },
	{ "bug", fault_bug },
	{ "warn", fault_warn },
	{ "list", fault_list_corrupt },
	{ "stack", fault_stack_overflow },
	{ "task-circle", fault_task_circle },
	{ "tx-hang", fault_tx_hang },
};

static int start(int which, int on)
{
	struct task_struct *task =
		fault_thread(faults[which].run, (void *)faults[which].name, on, faults[which].name);

	return PTR_ERR_OR_ZERO(task);
}

static int inject(const char *fault)
{
	int which, on, err = 0;

	for (which = 0; which < ARRAY_SIZE(faults); which++) {
		if (sysfs_streq(fault, faults[which].name))
			break;
	}
	if (which == ARRAY_SIZE(faults)) {
		pr_err("lab_fault: no fault is named \"%s\"\n", fault);
		return -EINVAL;
	}
	// No CPU goes away until all threads are bound.
	cpus_read_lock();
	if (fault_cpu < 0 || fault_cpu >= nr_cpu_ids || !cpu_online(fault_cpu)) {
		pr_err("lab_fault: CPU %d is not online\n", fault_cpu);
		err = -ENODEV;
	} else if (faults[which].two_cpus && num_online_cpus() < 2) {
		pr_err("lab_fault: %s takes two CPUs\n", faults[which].name);
		err = -ENODEV;
	} else if (faults[which].all_cpus) {
		fault_freeze_prepare(num_online_cpus());
		for_each_online_cpu (on)
			err = err ?: start(which, on);
	} else {
		err = start(which, fault_cpu);
	}
	cpus_read_unlock();
	return err;
}

static int fault_set(const char *value, const struct kernel_param *param)
{
	if (!sysfs_streq(value, "heal"))
		return inject(value);
	atomic_inc(&heals);
	wake_up_all(&healed);
	return 0;
}

static const struct kernel_param_ops fault_ops = { .set = fault_set };
module_param_cb(fault, &fault_ops, NULL, 0200);
MODULE_PARM_DESC(fault, "its name: begins when it is written; or heal");

static int __init lab_fault_init(void)
{
	return 0;
}

// No exit: threads run this code.
module_init(lab_fault_init);
MODULE_DESCRIPTION("Faults for guests of GPUSentinel's lab");
MODULE_LICENSE("GPL");
