// SPDX-License-Identifier: GPL-2.0
// CPUs that do nothing else any more, and a task that does nothing at all.
#include "fault.h"

#include <linux/atomic.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/delay.h>

int fault_softlockup(void *name)
{
	struct fault_end end;
	struct task_struct *waiter;

	fault_begins(name, &end);
	waiter = fault_waiter_create();
	preempt_disable();
	fault_waiter_wake(waiter);
	fault_spin(&end);
	preempt_enable();
	fault_ended(name);
	return 0;
}

int fault_hardlockup(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	local_irq_disable();
	fault_spin(&end);
	local_irq_enable();
	fault_ended(name);
	return 0;
}

// CPUs that are not yet there.
static atomic_t missing;

void fault_freeze_prepare(int cpus)
{
	atomic_set(&missing, cpus);
}

// All CPUs go in together: one that was late could not be started by one that is stuck.
int fault_freeze(void *name)
{
	static struct fault_end end;

	if (raw_smp_processor_id() == fault_cpu)
		fault_begins(name, &end);
	else
		msleep(fault_delay_ms);
	preempt_disable();
	atomic_dec(&missing);
	while (atomic_read(&missing) > 0)
		cpu_relax();
	local_irq_disable();
	fault_spin(&end);
	local_irq_enable();
	preempt_enable();
	return 0;
}

int fault_dstate(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	fault_wait_uninterruptible(&end);
	fault_ended(name);
	return 0;
}
