// SPDX-License-Identifier: GPL-2.0
/*
 * Deadlocks, by the kernel's own locks. What ends them lets go of a lock in place of its owner, which has the lock's
 * word free again, and leaves the owner's count of preemption to the owner.
 */
#include "fault.h"

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

static DEFINE_SPINLOCK(spin_a);
static DEFINE_SPINLOCK(spin_b);
static struct fault_end spin_end;
static spinlock_t *spin_release;

// Of v5.11 and later, as is the macro.
#ifdef IRQ_WORK_INIT_LAZY
#define LAZY_WORK(func_) IRQ_WORK_INIT_LAZY(func_)
#else
#define LAZY_WORK(func_) { .flags = ATOMIC_INIT(IRQ_WORK_LAZY), .func = (func_) }
#endif

// In the tick, which comes to a CPU that spins with interrupts on. What runs behind it may wait for ksoftirqd, which
// waits for the CPU.
static void spin_check(struct irq_work *work)
{
	if (fault_over(&spin_end))
		do_raw_spin_unlock(&spin_release->rlock);
	else
		irq_work_queue(work);
}

static struct irq_work spin_work = LAZY_WORK(spin_check);

static void spin_watch(spinlock_t *release)
{
	spin_release = release;
	irq_work_queue(&spin_work);
}

// Takes a lock that it has.
int fault_spin_aa(void *name)
{
	struct task_struct *waiter;

	fault_begins(name, &spin_end);
	waiter = fault_waiter_create();
	spin_lock(&spin_a);
	fault_waiter_wake(waiter);
	spin_watch(&spin_a);
	spin_lock(&spin_a);
	spin_unlock(&spin_a);
	// Of the first lock, whose word spin_check() has set free.
	preempt_enable();
	fault_ended(name);
	return 0;
}

// Of two that take two locks in opposite order: those that have their first.
static atomic_t spin_holders;

static void spin_meet(void)
{
	atomic_inc(&spin_holders);
	while (atomic_read(&spin_holders) < 2)
		cpu_relax();
}

static int spin_ba(void *unused)
{
	struct task_struct *waiter = fault_waiter_create();

	spin_lock(&spin_b);
	fault_waiter_wake(waiter);
	spin_meet();
	spin_lock(&spin_a);
	spin_unlock(&spin_a);
	preempt_enable();
	return 0;
}

int fault_spin_abba(void *name)
{
	struct task_struct *waiter;

	fault_begins(name, &spin_end);
	atomic_set(&spin_holders, 0);
	if (IS_ERR(fault_thread(spin_ba, NULL, fault_other_cpu(), "spin-ba")))
		return 0;
	waiter = fault_waiter_create();
	spin_lock(&spin_a);
	fault_waiter_wake(waiter);
	spin_meet();
	spin_watch(&spin_b);
	spin_lock(&spin_b);
	spin_unlock(&spin_b);
	spin_unlock(&spin_a);
	fault_ended(name);
	return 0;
}

static DEFINE_MUTEX(mutex_a);
static DEFINE_MUTEX(mutex_b);
static atomic_t mutex_holders;

static void mutex_meet(void)
{
	atomic_inc(&mutex_holders);
	while (atomic_read(&mutex_holders) < 2)
		schedule_timeout_uninterruptible(1);
}

static int mutex_ab(void *unused)
{
	mutex_lock(&mutex_a);
	mutex_meet();
	mutex_lock(&mutex_b);
	mutex_unlock(&mutex_b);
	mutex_unlock(&mutex_a);
	return 0;
}

static int mutex_ba(void *unused)
{
	mutex_lock(&mutex_b);
	mutex_meet();
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	// mutex_b has been unlocked by who ends this.
	return 0;
}

// Two others wait for each other; this one waits for the end.
int fault_mutex_abba(void *name)
{
	static atomic_t running;
	struct fault_end end;

	if (atomic_xchg(&running, 1))
		return 0;
	fault_begins(name, &end);
	atomic_set(&mutex_holders, 0);
	if (!IS_ERR(fault_thread(mutex_ab, NULL, -1, "mutex-ab")) &&
	    !IS_ERR(fault_thread(mutex_ba, NULL, -1, "mutex-ba"))) {
		fault_wait_interruptible(&end);
		mutex_unlock(&mutex_b);
		fault_ended(name);
	}
	atomic_set(&running, 0);
	return 0;
}
