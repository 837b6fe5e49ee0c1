/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Block devices and the requests that are under way. include/linux/blk_types.h, blk-mq.h, block/blk-mq-tag.h
 */
#ifndef GPUSENTINEL_KERNEL_BLOCK_H
#define GPUSENTINEL_KERNEL_BLOCK_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/fs.h>

/** Reads, writes, discards, flushes. */
enum stat_group {
	STAT_READ,
	STAT_WRITE,
	STAT_DISCARD,
	STAT_FLUSH,
	NR_STAT_GROUPS,
};

/** A counter of one CPU. arch/x86/include/asm/local.h */
typedef struct {
	atomic_long_t a;
} __kernel_type local_t;

/** Of each CPU. A request may begin on one and end on another: only sums mean something. */
struct disk_stats {
	/** Completed. */
	unsigned long ios[NR_STAT_GROUPS];
	/** Reads and writes under way; of devices without requests of their own, such as dm's. */
	local_t in_flight[2];
} __kernel_type;

struct gendisk;

struct block_device {
	unsigned int bd_dev;
	/** NULL of a device that is not open, in kernels before v5.11. */
	struct gendisk *bd_disk;
	struct disk_stats *bd_stats;
} __kernel_type;

/**
 * Since v5.12, a partition is a block_device, and so is the whole of a disk. Before that, either has a struct hd_struct
 * besides, and that of the whole is part of the disk.
 */
struct hd_struct {
	struct disk_stats *dkstats;
} __kernel_type;

struct block_device___hd_struct {
	u8 bd_partno;
} __kernel_type;

struct gendisk___hd_struct {
	struct hd_struct part0;
} __kernel_type;

struct request_queue;

struct gendisk {
	int major;
	int first_minor;
	char disk_name[32];
	struct block_device *part0;
	struct request_queue *queue;
} __kernel_type;

/** A block device's own inode lies beside it. block/bdev.c */
struct bdev_inode {
	struct block_device bdev;
	struct inode vfs_inode;
} __kernel_type;

static __always_inline const struct block_device *I_BDEV(const struct inode *inode)
{
	return &container_of(inode, struct bdev_inode, vfs_inode)->bdev;
}

static __always_inline const struct address_space *bdev_mapping(const struct block_device *bdev)
{
	return container_of(bdev, struct bdev_inode, bdev)->vfs_inode.i_mapping;
}

/** The whole of a disk, where that is a pointer: not with struct hd_struct. */
static __always_inline const struct block_device *disk_part0(const struct gendisk *disk)
{
	return *(const struct block_device **)((unsigned long)disk +
					       bpf_core_field_offset(disk->part0));
}

/** Whether it is a disk and no partition. */
static __always_inline bool bdev_is_whole(const struct block_device *bdev)
{
	if (bpf_core_type_exists(struct hd_struct))
		return ((const struct block_device___hd_struct *)bdev)->bd_partno == 0;
	return disk_part0(bdev->bd_disk) == bdev;
}

/** Of all CPUs; NULL if there are none. */
static __always_inline struct disk_stats *disk_stats(const struct gendisk *disk)
{
	if (bpf_core_field_exists(struct block_device, bd_stats))
		return disk_part0(disk)->bd_stats;
	return ((const struct gendisk___hd_struct *)disk)->part0.dkstats;
}

/** include/linux/sbitmap.h */
struct sbitmap_word {
	unsigned long word;
	/** Bits of word that are free again. */
	unsigned long cleared;
} __kernel_type;

struct sbitmap {
	unsigned int depth;
	/** Binary logarithm of the bits of a word that are in use. */
	unsigned int shift;
	unsigned int map_nr;
	struct sbitmap_word *map;
} __kernel_type;

struct sbitmap_queue {
	struct sbitmap sb;
} __kernel_type;

struct request;

/** Of a hardware queue, or of several that share it. */
struct blk_mq_tags {
	unsigned int nr_tags;
	unsigned int nr_reserved_tags;
	/** Embedded since v5.16, a pointer in some kernels before. */
	struct sbitmap_queue bitmap_tags;
	/** By tag. What is not under way is of an earlier use. */
	struct request **rqs;
} __kernel_type;

struct blk_mq_tag_set {
	unsigned int nr_hw_queues;
	struct blk_mq_tags **tags;
} __kernel_type;

struct request_queue {
	/** NULL of devices without requests, which pass on what they are given. */
	const void *mq_ops;
	struct blk_mq_tag_set *tag_set;
} __kernel_type;

enum mq_rq_state {
	MQ_RQ_IN_FLIGHT = 1,
};

struct request {
	struct request_queue *q;
	/** REQ_OP_* in the low bits. */
	unsigned int cmd_flags;
	unsigned int __data_len;
	u64 __sector;
	/** Nanoseconds of CLOCK_MONOTONIC; 0 if the queue keeps no times. */
	u64 start_time_ns;
	enum mq_rq_state state;
} __kernel_type;

#define REQ_OP_MASK 0xffU

static __always_inline const struct sbitmap *bitmap_tags(const struct blk_mq_tags *tags)
{
	unsigned long at = (unsigned long)tags + bpf_core_field_offset(tags->bitmap_tags);

	if (bpf_core_field_size(tags->bitmap_tags) == sizeof(void *))
		at = *(unsigned long *)at;
	return &((const struct sbitmap_queue *)at)->sb;
}

#endif
