/* SPDX-License-Identifier: Apache-2.0 */
/* The printk ring buffer, record by record, for detectors that hand on the kernel's log. */
#ifndef LOG_RECORDS_H
#define LOG_RECORDS_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// kernel/printk/internal.h, PRINTKRB_RECORD_MAX; continuation lines grow no longer either.
#define LOG_TEXT_MAX 1024

// "C" or "T" and ten digits.
#define LOG_CALLER_LEN 12

// Rings are megabytes at most; a greater logarithm is damage.
#define LOG_BITS_MAX 28

struct log_record {
	u64 seq, ts_nsec;
	u32 level, facility;
	bool cont;
	char caller[LOG_CALLER_LEN];
	char text[LOG_TEXT_MAX + 1];
};

// Zero-initialise, set next_seq, then log_begin().
struct log_walk {
	// Sequence number of the first record that is wanted; then of the one behind the last that was given.
	u64 next_seq;
	struct prb_desc *descs;
	struct printk_info *infos;
	unsigned long mask, tail, count, at;
	bool panicked;
};

// Text of the record, or NULL if it has been lost; kernel/printk/printk_ringbuffer.c, get_data().
// Where the space at the end of the ring is too short, a text begins at the start of it.
static const char *get_data(const struct prb_data_ring *ring, unsigned long begin,
			    unsigned long next, unsigned long *size)
{
	unsigned int size_bits = ring->size_bits;

	if (size_bits > LOG_BITS_MAX)
		return NULL;

	unsigned long mask = (1UL << size_bits) - 1;
	unsigned long offset = begin & mask;
	// One less: the next text may begin where the ring does.
	unsigned long last = next - 1;

	if (begin >> size_bits == last >> size_bits) {
		*size = next - begin;
	} else if ((begin + mask + 1) >> size_bits == last >> size_bits) {
		offset = 0;
		*size = ((last & mask) + 1);
	} else {
		return NULL;
	}
	if (*size <= sizeof(struct prb_data_block) || offset + *size > mask + 1)
		return NULL;
	*size -= sizeof(struct prb_data_block);
	return ((const struct prb_data_block *)(ring->data + offset))->data;
}

// As with CONFIG_PRINTK_CALLER: T and the thread's id, or C and the CPU's number.
static void print_caller(char *buf, u32 caller_id)
{
	u32 number = caller_id & 0x7fffffff;
	char digits[LOG_CALLER_LEN];
	unsigned int count = 0, len = 0;

	do {
		digits[count++] = '0' + number % 10;
		number /= 10;
	} while (number && count < sizeof(digits) - 2);

	buf[len++] = caller_id & 0x80000000 ? 'C' : 'T';
	while (count)
		buf[len++] = digits[--count];
	buf[len] = 0;
}

// False if there is no log.
static bool log_begin(struct log_walk *walk)
{
	const struct printk_ringbuffer *rb = prb;
	unsigned int count_bits = rb->desc_ring.count_bits;

	if (!rb || count_bits > LOG_BITS_MAX)
		return false;

	unsigned long head = atomic_long_read(&rb->desc_ring.head_id) & DESC_ID_MASK;
	u64 first_seq;

	walk->descs = rb->desc_ring.descs;
	walk->infos = rb->desc_ring.infos;
	walk->mask = (1UL << count_bits) - 1;
	walk->tail = atomic_long_read(&rb->desc_ring.tail_id) & DESC_ID_MASK;
	walk->count = min(((head - walk->tail) & DESC_ID_MASK) + 1, walk->mask + 1);
	walk->panicked = panic_cpu != PANIC_CPU_INVALID;
	first_seq = kernel_array_at(walk->infos, walk->tail & walk->mask)->seq;
	if (walk->next_seq > first_seq)
		walk->at = min(walk->next_seq - first_seq, (u64)walk->count);
	return true;
}

// False if the record's text is lost, or it was overwritten while it was read.
static bool log_read(const struct prb_data_ring *ring, struct prb_desc *desc,
		     const struct printk_info *info, s64 state, struct log_record *ret)
{
	unsigned long begin = desc->text_blk_lpos.begin, next = desc->text_blk_lpos.next;
	unsigned long size = 0,
		      len = min((unsigned long)info->text_len, (unsigned long)LOG_TEXT_MAX);

	if (begin & next & 1) {
		// The text did not fit into the ring: the kernel shows no such record either.
		if (begin != EMPTY_LINE_LPOS || next != EMPTY_LINE_LPOS)
			return false;
		len = 0;
	} else {
		const char *data = get_data(ring, begin, next, &size);

		if (!data || size < len)
			return false;
		__builtin_memcpy(ret->text, data, len);
	}
	ret->text[len] = 0;
	ret->seq = info->seq;
	ret->ts_nsec = info->ts_nsec;
	ret->level = info->level;
	ret->facility = info->facility;
	ret->cont = info->flags & LOG_CONT;
	print_caller(ret->caller, info->caller_id);
	// Overwritten in the meantime: what was read is of two records.
	return READ_ONCE(desc->state_var.counter) == state;
}

// The next record that can be shown; false: there is none (yet).
static bool log_next(struct log_walk *walk, struct log_record *ret)
{
	for (; walk->at < walk->count; walk->at++) {
		unsigned long id = (walk->tail + walk->at) & DESC_ID_MASK;
		struct prb_desc *desc = kernel_array_at(walk->descs, id & walk->mask);
		const struct printk_info *info = kernel_array_at(walk->infos, id & walk->mask);
		s64 state = READ_ONCE(desc->state_var.counter);

		if (DESC_ID(state) != id || DESC_STATE(state) == desc_reusable)
			continue;
		// Until the ring has gone round once, its tail is a descriptor that never held a record, and counts
		// as the first.
		if (info->seq < walk->next_seq)
			continue;
		// Its writer is at work, or may append to it: it comes in a later run, and all
		// behind it. After a panic no writer comes back: what is there is the last word,
		// and what was begun is skipped.
		if (DESC_STATE(state) != desc_finalized && !walk->panicked)
			return false;
		if (DESC_STATE(state) == desc_reserved)
			continue;
		walk->next_seq = info->seq + 1;
		if (!log_read(&prb->text_data_ring, desc, info, state, ret))
			continue;
		walk->at++;
		return true;
	}
	return false;
}

// As columns of a table.
#define log_row(record)                                                                          \
	row("seq=%llu ts_ns=%llu level=%u facility=%u cont=%u caller=%s text=%s", (record)->seq, \
	    (record)->ts_nsec, (record)->level, (record)->facility, (record)->cont,              \
	    (record)->caller, (record)->text)

#endif
