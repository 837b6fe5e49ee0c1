// SPDX-License-Identifier: GPL-2.0
// Readers of RCU that never end, while a grace period waits for them.
#include "fault.h"

#include <linux/atomic.h>
#include <linux/kconfig.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>

static struct rcu_head waiting;
static atomic_t used;

static void grace_period_ended(struct rcu_head *unused)
{
	pr_emerg("lab_fault: the grace period has ended\n");
	atomic_set(&used, 0);
}

// An idle kernel needs no grace period.
static void grace_period_start(void)
{
	if (!atomic_xchg(&used, 1))
		call_rcu(&waiting, grace_period_ended);
}

// Where the kernel does not preempt itself, this is a soft lockup as well.
int fault_rcu_spin(void *name)
{
	struct fault_end end;

	fault_begins(name, &end);
	rcu_read_lock();
	grace_period_start();
	fault_spin(&end);
	rcu_read_unlock();
	fault_ended(name);
	return 0;
}

// With CONFIG_PREEMPT_RCU a reader that sleeps is a task that the grace period waits for. Without, the context switch
// ends the reader, as far as RCU can tell.
int fault_rcu_sleep(void *name)
{
	struct fault_end end;

	if (!IS_ENABLED(CONFIG_PREEMPT_RCU)) {
		pr_emerg("lab_fault: %s: not with this kernel's RCU\n", (char *)name);
		return 0;
	}
	fault_begins(name, &end);
	rcu_read_lock();
	grace_period_start();
	fault_wait_interruptible(&end);
	rcu_read_unlock();
	fault_ended(name);
	return 0;
}
