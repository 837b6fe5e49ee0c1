/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Locks that tasks sleep for, and who holds them. kernel/locking/mutex.c, rwsem.c, semaphore.c
 */
#ifndef GPUSENTINEL_KERNEL_LOCKING_H
#define GPUSENTINEL_KERNEL_LOCKING_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/sched.h>
#include <gpusentinel/kernel/stacktrace.h>

/** include/linux/mutex_types.h */
struct mutex {
	/** struct task_struct * with three flags. */
	atomic_long_t owner;
	struct list_head wait_list;
} __kernel_type;

/** include/linux/rwsem.h */
struct rw_semaphore {
	/** Who writes, or of those that read the last that came; with flags as above. */
	atomic_long_t owner;
	struct list_head wait_list;
} __kernel_type;

/** Of both: flags in the owner. */
#define LOCK_OWNER_FLAGS 0x7UL
/** Of a mutex whoever waits sets it; of a rwsem it means that owner reads. */
#define MUTEX_FLAG_WAITERS 0x1UL
#define RWSEM_READER_OWNED 0x1UL

/** On the stack of who waits; that of a rwsem or a semaphore begins with the same two. */
struct mutex_waiter {
	struct list_head list;
	struct task_struct *task;
} __kernel_type;

/** include/linux/hung_task.h, since v6.16: kinds of task_struct.blocker. */
#define BLOCKER_TYPE_MASK 0x3UL
#define BLOCKER_TYPE_MUTEX 0x0UL
#define BLOCKER_TYPE_SEM 0x1UL

extern char mutex_lock[] __ksym;
extern char mutex_lock_interruptible[] __ksym;
extern char mutex_lock_killable[] __ksym;
extern char mutex_lock_io[] __ksym __weak;
extern char ww_mutex_lock[] __ksym __weak;
extern char ww_mutex_lock_interruptible[] __ksym __weak;
extern char down_read[] __ksym;
extern char down_read_interruptible[] __ksym __weak;
extern char down_read_killable[] __ksym __weak;
extern char down_write[] __ksym;
extern char down_write_killable[] __ksym __weak;

enum lock_kind {
	LOCK_NONE = 0,
	LOCK_MUTEX,
	LOCK_RWSEM,
	/** Has no owner. */
	LOCK_SEMAPHORE,
};

/** The lock that a task waits for. */
struct lock_wait {
	enum lock_kind kind;
	unsigned long lock;
};

static __always_inline bool is_kernel_address(unsigned long address)
{
	// The upper half, with page tables of four levels or five.
	return address >= 0xff00000000000000UL && address < -4096UL;
}

/** Whether @p p points to a task, as far as can be told. */
static inline bool is_task(const struct task_struct *p)
{
	if (!is_kernel_address((unsigned long)p) || ((unsigned long)p & 7))
		return false;

	unsigned long stack = (unsigned long)p->stack;

	return is_kernel_address(stack) && !(stack & (PAGE_SIZE - 1)) && p->pid > 0 &&
	       is_kernel_address((unsigned long)p->group_leader) &&
	       p->group_leader->tgid == p->tgid;
}

/** Whether a waiter whose list is at @p at belongs to a task that has it on its stack. */
static inline bool is_waiter(unsigned long at)
{
	const struct task_struct *p =
		container_of((struct list_head *)at, struct mutex_waiter, list)->task;

	if (!is_kernel_address((unsigned long)p) || ((unsigned long)p & 7))
		return false;

	unsigned long stack = (unsigned long)p->stack;

	return at >= stack && at - stack < task_stack_size(p);
}

/** More would be a list that does not end. */
#define WAITERS_MAX 4096

/**
 * The head of the list of waiters that the task @p p is in, by the waiter on its stack; 0 if there is none. The head
 * is the one that lies on nobody's stack.
 */
static inline unsigned long find_wait_list(const struct task_struct *p)
{
	struct unwind_state state;
	unsigned long at;

	unwind_start(&state, p);
	for (at = (state.sp + 7) & ~7UL; on_stack(&state, at, sizeof(long)); at += sizeof(long)) {
		if (*(const unsigned long *)at != (unsigned long)p)
			continue;

		unsigned long self = at - bpf_core_field_offset(struct mutex_waiter, task) +
				     bpf_core_field_offset(struct mutex_waiter, list);
		unsigned long entry = stack_word(&state, self);

		// The list leads back: prev is behind next.
		if (!is_kernel_address(entry) || (entry & 7) ||
		    *(const unsigned long *)(entry + sizeof(long)) != self)
			continue;
		for (u32 i = 0; i < WAITERS_MAX && entry != self; i++) {
			if (!is_kernel_address(entry) || (entry & 7))
				break;
			if (!is_waiter(entry))
				return entry;
			entry = (unsigned long)((const struct list_head *)entry)->next;
		}
	}
	return 0;
}

/** What the function that is called before @p ip waits for; LOCK_NONE if it is not known. */
static inline enum lock_kind lock_kind_of_call(unsigned long ip)
{
	const char *target = (const char *)call_target(ip);

	if (!target)
		return LOCK_NONE;
	if (target == mutex_lock || target == mutex_lock_interruptible ||
	    target == mutex_lock_killable || target == mutex_lock_io || target == ww_mutex_lock ||
	    target == ww_mutex_lock_interruptible)
		return LOCK_MUTEX;
	if (target == down_read || target == down_read_interruptible ||
	    target == down_read_killable || target == down_write || target == down_write_killable)
		return LOCK_RWSEM;
	return LOCK_NONE;
}

/** The lock that the task @p p, which must sleep, waits for; @p trace is where it stands, from who waits on. */
static inline void find_lock(const struct task_struct *p, const struct stack_trace *trace,
			     struct lock_wait *ret)
{
	ret->kind = LOCK_NONE;
	ret->lock = 0;
	if (bpf_core_field_exists(p->blocker)) {
		unsigned long blocker = p->blocker;

		if (!blocker)
			return;
		ret->lock = blocker & ~BLOCKER_TYPE_MASK;
		ret->kind = LOCK_RWSEM;
		if ((blocker & BLOCKER_TYPE_MASK) == BLOCKER_TYPE_MUTEX)
			ret->kind = LOCK_MUTEX;
		if ((blocker & BLOCKER_TYPE_MASK) == BLOCKER_TYPE_SEM)
			ret->kind = LOCK_SEMAPHORE;
		return;
	}
	// Without a list in the lock there is no head to be found.
	if (!bpf_core_field_exists(struct mutex, wait_list) ||
	    !bpf_core_field_exists(struct rw_semaphore, wait_list) || !trace->nr)
		return;

	enum lock_kind kind = lock_kind_of_call(trace->entries[0]);

	if (!kind)
		return;

	unsigned long head = find_wait_list(p);

	if (!head)
		return;
	ret->kind = kind;
	ret->lock =
		head - (kind == LOCK_MUTEX ? bpf_core_field_offset(struct mutex, wait_list)
					   : bpf_core_field_offset(struct rw_semaphore, wait_list));
}

/** Who holds the lock; NULL if it is free or cannot be told. @p reader: one of several, or the last of them. */
static inline struct task_struct *lock_owner(const struct lock_wait *wait, bool *reader)
{
	unsigned long owner;

	*reader = false;
	if (wait->kind == LOCK_MUTEX)
		owner = atomic_long_read(&((const struct mutex *)wait->lock)->owner);
	else if (wait->kind == LOCK_RWSEM)
		owner = atomic_long_read(&((const struct rw_semaphore *)wait->lock)->owner);
	else
		return NULL;
	*reader = wait->kind == LOCK_RWSEM && (owner & RWSEM_READER_OWNED);

	struct task_struct *p = (struct task_struct *)(owner & ~LOCK_OWNER_FLAGS);

	return is_task(p) ? p : NULL;
}

#endif
