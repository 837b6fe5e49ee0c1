/* SPDX-License-Identifier: Apache-2.0 */
/* The newest messages of the kernel's log, for detectors that look for what it says of a crash. */
#ifndef KLOG_H
#define KLOG_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// The longest line that is shown of a crash; a longer message is cut.
#define KLOG_TEXT_MAX 192
// Rings are megabytes at most; a greater logarithm is damage.
#define KLOG_BITS_MAX 28

struct klog_line {
	char text[KLOG_TEXT_MAX];
};

// Id of the newest record, finished or not.
static unsigned long klog_head(void)
{
	return atomic_long_read(&prb->desc_ring.head_id) & DESC_ID_MASK;
}

// The text of record @id; false if it has none, or it is being written or was overwritten.
static bool klog_read(unsigned long id, struct klog_line *ret)
{
	const struct printk_ringbuffer *rb = prb;
	u32 count_bits = rb->desc_ring.count_bits, size_bits = rb->text_data_ring.size_bits;

	if (count_bits > KLOG_BITS_MAX || size_bits > KLOG_BITS_MAX)
		return false;

	unsigned long index = id & ((1UL << count_bits) - 1), mask = (1UL << size_bits) - 1;
	const struct prb_desc *desc = kernel_array_at(rb->desc_ring.descs, index);
	const struct printk_info *info = kernel_array_at(rb->desc_ring.infos, index);
	s64 state = READ_ONCE(desc->state_var.counter);
	unsigned long begin = desc->text_blk_lpos.begin, last = desc->text_blk_lpos.next - 1;
	u32 len = min((u32)info->text_len, (u32)KLOG_TEXT_MAX - 1);

	if (DESC_ID(state) != id || DESC_STATE(state) == desc_reserved ||
	    DESC_STATE(state) == desc_reusable || begin & 1)
		return false;

	// Where the space at the end of the ring is too short, a text begins at the start of it.
	unsigned long offset = begin >> size_bits == last >> size_bits ? begin & mask : 0;

	if (offset + sizeof(struct prb_data_block) + len > mask + 1)
		return false;
	__builtin_memcpy(ret->text,
			 rb->text_data_ring.data + offset + sizeof(struct prb_data_block), len);
	ret->text[len] = 0;
	return READ_ONCE(desc->state_var.counter) == state;
}

// Where @what is in the line, counted from 1; 0 if it is not.
static inline u32 klog_find(const struct klog_line *line, const char *what)
{
	for (u32 i = 0; i < KLOG_TEXT_MAX && line->text[i]; i++) {
		u32 n = 0;

		while (what[n] && i + n < KLOG_TEXT_MAX && line->text[i + n] == what[n])
			n++;
		if (!what[n])
			return i + 1;
	}
	return 0;
}

static bool klog_begins(const struct klog_line *line, const char *what)
{
	for (u32 i = 0; what[i]; i++) {
		if (i >= KLOG_TEXT_MAX || line->text[i] != what[i])
			return false;
	}
	return true;
}

// The newest of the last @count records that begins with @what. @return its id, or ~0.
static unsigned long klog_last(const char *what, u32 count, struct klog_line *ret)
{
	unsigned long head = klog_head();

	for (u32 i = 0; i < count; i++) {
		unsigned long id = (head - i) & DESC_ID_MASK;

		if (klog_read(id, ret) && klog_begins(ret, what))
			return id;
	}
	ret->text[0] = 0;
	return ~0UL;
}

#endif
