/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file The kernel's log: kernel/printk/printk_ringbuffer.h, the lockless ring since Linux kernel
 * commit 896fbe20b4e2 ("printk: use the lockless ringbuffer") (in v5.10), with infos apart from
 * descriptors since cfe2790b163a ("printk: move printk_info into separate array") (in v5.10).
 */
#ifndef GPUSENTINEL_KERNEL_PRINTK_H
#define GPUSENTINEL_KERNEL_PRINTK_H

#include <gpusentinel/kernel/base.h>

/** Positions of a record's text in the data ring, in bytes since boot; both odd: it has none. */
struct prb_data_blk_lpos {
	unsigned long begin;
	unsigned long next;
} __kernel_type;

/** A record without text because the text is empty; without text because there was no space: 1. */
#define EMPTY_LINE_LPOS 0x3

/** In the data ring: the id of the descriptor, then the text. */
struct prb_data_block {
	unsigned long id;
	char data[];
};

struct prb_desc {
	/** Id of the record and, in the top two bits, enum desc_state. */
	atomic_long_t state_var;
	struct prb_data_blk_lpos text_blk_lpos;
} __kernel_type;

#define DESC_FLAGS_SHIFT 62
#define DESC_ID_MASK ((1UL << DESC_FLAGS_SHIFT) - 1)
#define DESC_ID(sv) ((unsigned long)(sv) & DESC_ID_MASK)
#define DESC_STATE(sv) ((unsigned long)(sv) >> DESC_FLAGS_SHIFT)

enum desc_state {
	/** Being written. */
	desc_reserved = 0,
	/** Written; its writer may still append to it. */
	desc_committed = 1,
	desc_finalized = 2,
	/** Overwritten or never used. */
	desc_reusable = 3,
};

struct printk_info {
	u64 seq;
	u64 ts_nsec;
	u16 text_len;
	/** As in syslog(3): 0 is the kernel. */
	u8 facility;
	/** LOG_* */
	u8 flags : 5;
	/** 0 (emergency) to 7 (debug). */
	u8 level : 3;
	/** Thread id, or CPU number with the top bit set. */
	u32 caller_id;
} __kernel_type;

/** Text is a fragment of a continuation line. */
#define LOG_CONT 8

struct prb_desc_ring {
	/** Binary logarithm of the number of descriptors. */
	unsigned int count_bits;
	struct prb_desc *descs;
	struct printk_info *infos;
	atomic_long_t head_id;
	atomic_long_t tail_id;
} __kernel_type;

struct prb_data_ring {
	/** Binary logarithm of the bytes. */
	unsigned int size_bits;
	char *data;
} __kernel_type;

struct printk_ringbuffer {
	struct prb_desc_ring desc_ring;
	struct prb_data_ring text_data_ring;
} __kernel_type;

extern struct printk_ringbuffer *prb __ksym;

#endif
