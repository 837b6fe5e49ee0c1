// SPDX-License-Identifier: GPL-2.0
/*
 * Faults that only the kernel can have. For guests of the lab: they make a machine unusable.
 *
 *	insmod lab_fault.ko
 *	cd /sys/module/lab_fault/parameters; echo 1 >cpu; echo 5 >seconds; echo hardlockup >fault
 *
 * The write succeeds, and the fault begins after delay_ms, when whoever wrote has had its answer.
 */
#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/msr.h>
#include <asm/tsc.h>

static int cpu;
module_param(cpu, int, 0644);
MODULE_PARM_DESC(cpu, "the CPU on which it happens");

static unsigned int seconds;
module_param(seconds, uint, 0644);
MODULE_PARM_DESC(seconds, "how long a lockup lasts; 0: for ever");

static unsigned int delay_ms = 300;
module_param(delay_ms, uint, 0644);
MODULE_PARM_DESC(delay_ms, "time from loading to the fault");

// Busy, as code that is stuck is. The time stamp counter goes on without any interrupt; mdelay() may take
// its word for a delay from an instruction that an emulator leaves out.
static void spin(void)
{
	u64 start = rdtsc(), cycles = (u64)seconds * 1000 * tsc_khz;

	while (!seconds || rdtsc() - start < cycles)
		cpu_relax();
}

static void begins(void)
{
	pr_emerg("lab_fault: %s begins on CPU %d\n", current->comm + strlen("lab-"), cpu);
}

static int waiter(void *unused)
{
	pr_emerg("lab_fault: the waiter runs\n");
	return 0;
}

// A task that waits for the CPU makes the difference between a lockup and a CPU that nobody else wants.
static int softlockup(void *unused)
{
	struct task_struct *task;

	msleep(delay_ms);
	begins();
	task = kthread_create(waiter, NULL, "lab-waiter");
	if (!IS_ERR(task))
		kthread_bind(task, cpu);
	preempt_disable();
	if (!IS_ERR(task))
		wake_up_process(task);
	spin();
	preempt_enable();
	return 0;
}

static int hardlockup(void *unused)
{
	msleep(delay_ms);
	begins();
	local_irq_disable();
	spin();
	local_irq_enable();
	return 0;
}

// Of a freeze: CPUs that are not yet there.
static atomic_t missing;

// All CPUs go in together: one that was late could not be started by one that is stuck.
static int freeze(void *unused)
{
	msleep(delay_ms);
	if (raw_smp_processor_id() == cpu)
		begins();
	preempt_disable();
	atomic_dec(&missing);
	while (atomic_read(&missing) > 0)
		cpu_relax();
	local_irq_disable();
	spin();
	local_irq_enable();
	preempt_enable();
	return 0;
}

static int oops(void *unused)
{
	msleep(delay_ms);
	begins();
	WRITE_ONCE(*(volatile int *)8, 0);
	return 0;
}

static int dstate(void *unused)
{
	msleep(delay_ms);
	begins();
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule();
	}
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void *unused);
	bool all_cpus;
} faults[] = {
	{ "softlockup", softlockup, false }, { "hardlockup", hardlockup, false },
	{ "freeze", freeze, true },	     { "oops", oops, false },
	{ "dstate", dstate, false },
};

static int start(int which, int on)
{
	struct task_struct *task =
		kthread_create(faults[which].run, NULL, "lab-%s", faults[which].name);

	if (IS_ERR(task))
		return PTR_ERR(task);
	kthread_bind(task, on);
	wake_up_process(task);
	return 0;
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
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu)) {
		pr_err("lab_fault: CPU %d is not online\n", cpu);
		err = -ENODEV;
	} else if (faults[which].all_cpus) {
		atomic_set(&missing, num_online_cpus());
		for_each_online_cpu (on)
			err = err ?: start(which, on);
	} else {
		err = start(which, cpu);
	}
	cpus_read_unlock();
	return err;
}

static int fault_set(const char *value, const struct kernel_param *param)
{
	return inject(value);
}

static const struct kernel_param_ops fault_ops = { .set = fault_set };
module_param_cb(fault, &fault_ops, NULL, 0200);
MODULE_PARM_DESC(fault,
		 "softlockup, hardlockup, freeze, oops or dstate: begins when it is written");

static int __init lab_fault_init(void)
{
	return 0;
}

// No exit: threads run this code.
module_init(lab_fault_init);
MODULE_DESCRIPTION("Faults for guests of GPUSentinel's lab");
MODULE_LICENSE("GPL");
