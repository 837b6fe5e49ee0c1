/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What is mounted where, and the paths of files. include/linux/dcache.h, fs/mount.h
 */
#ifndef GPUSENTINEL_KERNEL_MOUNT_H
#define GPUSENTINEL_KERNEL_MOUNT_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/mm.h>
#include <gpusentinel/kernel/path.h>
#include <gpusentinel/kernel/sched.h>

/** Names of a path, and mounts that it goes through, that are followed. */
#define PATH_DEPTH_MAX 128
/** A name in a directory; include/uapi/linux/limits.h */
#define NAME_MAX 255

struct qstr {
	u32 len;
	const char *name;
} __kernel_type;

struct dentry {
	/** Itself at the root of a file system. */
	struct dentry *d_parent;
	struct qstr d_name;
} __kernel_type;

/** include/linux/mount.h; mnt_flags, in the order in which they came */
#define MNT_NOSUID 0x01
#define MNT_NODEV 0x02
#define MNT_NOEXEC 0x04
#define MNT_NOATIME 0x08
#define MNT_NODIRATIME 0x10
#define MNT_RELATIME 0x20
#define MNT_READONLY 0x40
#define MNT_NOSYMFOLLOW 0x80

struct vfsmount {
	/** What of the file system is seen at the mount point. */
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
} __kernel_type;

struct mount {
	/** Itself at the top. */
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	/** Chains mnt_child of what is mounted on it. */
	struct list_head mnt_mounts;
	struct list_head mnt_child;
	const char *mnt_devname;
	int mnt_id;
} __kernel_type;

struct mnt_namespace {
	struct mount *root;
} __kernel_type;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} __kernel_type;

struct fs_struct {
	struct path root;
} __kernel_type;

struct net;

/** Namespaces of a task. include/linux/nsproxy.h */
struct nsproxy {
	struct mnt_namespace *mnt_ns;
} __kernel_type;

/** include/linux/sched.h */
struct task_struct___fs {
	struct fs_struct *fs;
	/** NULL once the task has begun to exit. */
	struct nsproxy *nsproxy;
} __kernel_type;

struct file_system_type {
	const char *name;
} __kernel_type;

struct super_block___mount {
	/** Number of its device, in 12 and 20 bits. */
	u32 s_dev;
	/** SB_* */
	unsigned long s_flags;
	struct file_system_type *s_type;
	/** Of file systems in user space: shown behind the type, or NULL. */
	const char *s_subtype;
} __kernel_type;

#define SB_RDONLY 1UL

/** include/linux/kdev_t.h */
#define MINORBITS 20
#define MAJOR(dev) ((unsigned int)((dev) >> MINORBITS))
#define MINOR(dev) ((unsigned int)((dev) & ((1U << MINORBITS) - 1)))

static __always_inline struct mount *real_mount(struct vfsmount *mnt)
{
	return container_of(mnt, struct mount, mnt);
}

/** The mount behind @p p in the tree below @p root, NULL behind the last; fs/namespace.c */
static inline struct mount *next_mnt(struct mount *p, struct mount *root)
{
	struct list_head *next = p->mnt_mounts.next;

	if (next == &p->mnt_mounts) {
		for (int depth = 0;; depth++) {
			if (p == root || depth > PATH_DEPTH_MAX)
				return NULL;
			next = p->mnt_child.next;
			if (next != &p->mnt_parent->mnt_mounts)
				break;
			p = p->mnt_parent;
		}
	}
	return next ? list_entry(next, struct mount, mnt_child) : NULL;
}

/** Put the names from @p dentry up to, but not including, @p root in front. */
static inline void prepend_dentries(struct prepend_buffer *buf, const struct dentry *dentry,
				    const struct dentry *root)
{
	for (int depth = 0; dentry && dentry != root && depth < PATH_DEPTH_MAX; depth++) {
		const struct dentry *parent = dentry->d_parent;
		unsigned int len = min(dentry->d_name.len, (u32)NAME_MAX);
		char name[NAME_MAX + 1];

		if (dentry == parent || buf->full)
			break;
		prepend_name(buf, name, strscpy(name, dentry->d_name.name, len + 1));
		dentry = parent;
	}
}

/**
 * Put the path of @p dentry in @p mnt in front, as a task sees it whose root directory is in @p root.
 * @return false if it does not see it: the path does not lead there
 */
static inline bool prepend_path(struct prepend_buffer *buf, const struct dentry *dentry,
				const struct mount *mnt, const struct mount *root)
{
	for (int depth = 0; mnt && depth < PATH_DEPTH_MAX; depth++) {
		const struct mount *parent = mnt->mnt_parent;

		prepend_dentries(buf, dentry, mnt->mnt.mnt_root);
		if (mnt == root)
			return true;
		if (parent == mnt)
			break;
		dentry = mnt->mnt_mountpoint;
		mnt = parent;
	}
	return false;
}

#endif
