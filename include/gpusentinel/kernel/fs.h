/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * File systems, inodes and the page cache. include/linux/fs.h
 */
#ifndef GPUSENTINEL_KERNEL_FS_H
#define GPUSENTINEL_KERNEL_FS_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/xarray.h>

/** Levels of an xarray whose nodes have 16 slots, the fewest that a kernel is built with. */
#define XA_LEVELS_MAX 16

/** What is at index 0 of @p xa if it is a pointer, else NULL. */
static inline const void *xa_load_first(const struct xarray *xa)
{
	const void *entry = xa->xa_head;

	for (int level = 0; level < XA_LEVELS_MAX && xa_is_node(entry); level++)
		entry = xa_to_node(entry)->slots[0];
	return (unsigned long)entry & 3 ? NULL : entry;
}

struct address_space {
	unsigned long nrpages;
	struct xarray i_pages;
	/** An error of writing back, and how often there was a new one: errseq_error(). */
	u32 wb_err;
} __kernel_type;

/*
 * lib/errseq.c: the number of an error below a flag that is set when someone was told, below a counter that goes on
 * when there is an error and the one before was told.
 */
#define ERRSEQ_SEEN (1U << 12)

static __always_inline unsigned int errseq_error(u32 seq)
{
	return seq & (ERRSEQ_SEEN - 1);
}

struct inode {
	struct address_space *i_mapping;
	/** Chains the inodes of a super block. */
	struct list_head i_sb_list;
} __kernel_type;

/** mount.h */
struct file_system_type;

/** How far freezing has come. */
enum {
	SB_UNFROZEN = 0,
	SB_FREEZE_COMPLETE = 4,
};

struct sb_writers {
	/** unsigned short since v6.6, int before: sb_frozen(). */
	unsigned short frozen;
} __kernel_type;

struct block_device;

struct super_block {
	/** Chains super_blocks. */
	struct list_head s_list;
	unsigned int s_dev;
	/** SB_*, see mount.h */
	unsigned long s_flags;
	struct file_system_type *s_type;
	/** NULL while it is mounted and once it is no longer. */
	void *s_root;
	/** NULL if it is on no block device. */
	struct block_device *s_bdev;
	struct sb_writers s_writers;
	/** The device, or the type. */
	char s_id[32];
	/** As address_space.wb_err, of all its files. */
	u32 s_wb_err;
	struct list_head s_inodes;
} __kernel_type;

extern struct list_head super_blocks __ksym;

/** The file system of block devices' own inodes; their pages are the buffer cache. */
extern struct super_block *blockdev_superblock __ksym;

/** One of SB_*FREEZE*; its low half, in little endian, whichever size it has. */
static __always_inline unsigned int sb_frozen(const struct super_block *sb)
{
	return *(const u16 *)((unsigned long)sb + bpf_core_field_offset(sb->s_writers.frozen));
}

/** The direct map, and the array of all struct page; with CONFIG_DYNAMIC_MEMORY_LAYOUT. */
extern unsigned long page_offset_base __ksym __weak;
extern unsigned long vmemmap_base __ksym __weak;

struct page {
	unsigned long flags;
} __kernel_type;

/** Where the page of @p page is in the direct map; 0 if that cannot be told. */
static inline unsigned long page_address(const void *page)
{
	unsigned long size = bpf_core_type_size(struct page);

	if (!&page_offset_base || !&vmemmap_base || !size || (unsigned long)page < vmemmap_base)
		return 0;
	return page_offset_base + ((unsigned long)page - vmemmap_base) / size * 4096;
}

/*
 * The super block of ext2, ext3 and ext4 as it is on disk and in the buffer cache. Debian and others build ext4 as a
 * module, whose types the kernel's BTF does not have; this layout cannot change. fs/ext4/ext4.h
 */
#define EXT4_SUPER_OFFSET 1024
#define EXT4_SUPER_MAGIC 0xEF53
#define EXT4_S_MAGIC 0x38
#define EXT4_S_STATE 0x3a
#define EXT4_S_ERROR_COUNT 0x194
#define EXT4_S_LAST_ERROR_FUNC 0x1e0
#define EXT4_S_LAST_ERROR_FUNC_LEN 32
/** In s_state. */
#define EXT4_ERROR_FS 2

#endif
