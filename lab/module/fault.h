/* SPDX-License-Identifier: GPL-2.0 */
/* What the faults of the module share. */
#ifndef LAB_FAULT_H
#define LAB_FAULT_H

#include <linux/types.h>

struct task_struct;

/* Parameters of the module; see main.c. */
extern int fault_cpu;
extern unsigned int fault_seconds, fault_delay_ms, fault_rate, fault_count;

/* When a fault is over: after the parameter `seconds`, and when someone heals the guest. */
struct fault_end {
	u64 start, cycles;
	int heals;
};

/* The fault begins now: wait until whoever asked for it has had the answer, then say so on the console. */
void fault_begins(const char *name, struct fault_end *ret);

/* In any context; by the time stamp counter, which goes on without any interrupt. */
bool fault_over(const struct fault_end *end);

/* Keep the CPU busy until then, as code that is stuck does. */
void fault_spin(const struct fault_end *end);

/* Sleep until then, in state D or S. */
void fault_wait_uninterruptible(const struct fault_end *end);
void fault_wait_interruptible(const struct fault_end *end);

/* The last word of a fault that can end. */
void fault_ended(const char *name);

/* A thread, bound to a CPU if that is not negative, and running. */
struct task_struct *fault_thread(int (*run)(void *data), void *data, int cpu, const char *name);

/*
 * A task that waits for this CPU makes the difference between a lockup and a CPU that nobody else wants. Create it,
 * disable preemption, then wake it up.
 */
struct task_struct *fault_waiter_create(void);
void fault_waiter_wake(struct task_struct *waiter);

/* The other CPU of a fault that takes two; negative if there is none. */
int fault_other_cpu(void);

/* cpu.c */
int fault_softlockup(void *name);
int fault_hardlockup(void *name);
int fault_freeze(void *name);
void fault_freeze_prepare(int cpus);
int fault_dstate(void *name);
/* locks.c */
int fault_spin_aa(void *name);
int fault_spin_abba(void *name);
int fault_mutex_abba(void *name);
/* rcu.c */
int fault_rcu_spin(void *name);
int fault_rcu_sleep(void *name);
/* leak.c */
int fault_leak(void *name);
/* bugs.c */
int fault_oops(void *name);
int fault_bug(void *name);
int fault_warn(void *name);
int fault_list_corrupt(void *name);
int fault_stack_overflow(void *name);
/* tasks.c */
int fault_task_circle(void *name);
/* nic.c */
int fault_tx_hang(void *name);

#endif
