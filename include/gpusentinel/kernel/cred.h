/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Credentials of tasks, and what tells whether they may have changed.
 */
#ifndef GPUSENTINEL_KERNEL_CRED_H
#define GPUSENTINEL_KERNEL_CRED_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/sched.h>

/** include/uapi/linux/capability.h */
#define CAP_SETUID 7
#define CAP_TO_MASK(cap) (1ULL << (cap))

/** include/linux/user_namespace.h */
struct user_namespace___tree {
	struct user_namespace___tree *parent;
	int level;
} __kernel_type;

/** Two words of 32 bits, or one of 64. include/linux/capability.h */
struct kernel_cap_words {
	u32 cap[2];
} __kernel_type;

/**
 * include/linux/cred.h; once a task has it, no member that is declared here changes, but for the count of references: who
 * wants other credentials makes a copy.
 */
struct cred___whole {
	kuid_t uid, suid, euid, fsuid;
	struct kernel_cap_words cap_permitted, cap_effective;
	struct user_namespace___tree *user_ns;
	/** An atomic_t or an atomic_long_t. */
	atomic_t usage;
} __kernel_type;

/** Capabilities of the cred @p cred in one word. */
#define cred_capabilities(cred, set) \
	(*(const u64 *)((u64)(cred) + bpf_core_field_offset((cred)->set)))

/** Of the kernel itself; a user's process never has it, not even init. */
extern struct cred___whole init_cred __ksym;

static __always_inline u64 cred_usage(const struct cred___whole *cred)
{
	return kernel_read_unsigned(cred, usage);
}

struct inode___mode {
	u16 i_mode;
} __kernel_type;

#define S_ISUID 04000

struct file___inode {
	struct inode___mode *f_inode;
} __kernel_type;

struct mm_struct___exe {
	struct file___inode *exe_file;
} __kernel_type;

struct task_struct___cred {
	/** What others see of it, and what it acts by: another one while it does so in somebody's name. */
	const struct cred___whole *real_cred;
	const struct cred___whole *cred;
	/** Counts calls of exec. */
	u64 self_exec_id;
	struct mm_struct___exe *mm;
} __kernel_type;

/** Whether @p ns is @p of or was made within it. */
static __always_inline bool in_userns(const struct user_namespace___tree *ns,
				      const struct user_namespace___tree *of)
{
	// Levels go from 0 to 32.
	for (u32 i = 0; ns && i < 40; i++, ns = ns->parent) {
		if (ns == of)
			return true;
	}
	return false;
}

#endif
