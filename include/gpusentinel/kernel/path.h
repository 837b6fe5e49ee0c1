/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Paths, which the kernel keeps as names that point to their parents.
 */
#ifndef GPUSENTINEL_KERNEL_PATH_H
#define GPUSENTINEL_KERNEL_PATH_H

#include <gpusentinel/kernel/base.h>

/** Bytes of the longest path that is shown whole; of a longer one the end is shown, behind "...". */
#define PREPEND_MAX 256

/**
 * Copy a string of the kernel in words that lie within a page each, at most @p size - 1 characters.
 * @return its length
 */
static inline unsigned int strscpy(char *dst, const char *src, unsigned int size)
{
	const u64 *words = (const u64 *)((unsigned long)src & ~7UL);
	unsigned int skip = (unsigned long)src & 7, len = 0;
	bool end = !src;

	while (!end && len + 1 < size) {
		u64 word = *words++ >> (skip * 8);

		for (unsigned int i = skip; i < 8 && !end && len + 1 < size; i++, word >>= 8) {
			end = !(char)word;
			if (!end)
				dst[len++] = (char)word;
		}
		skip = 0;
	}
	dst[len] = 0;
	return len;
}

/** A path that grows at its front; fs/d_path.c */
struct prepend_buffer {
	/** Where it begins; PREPEND_MAX: it is empty. */
	unsigned int at;
	bool full;
	char buf[PREPEND_MAX + 1];
};

static __always_inline void prepend_init(struct prepend_buffer *b)
{
	b->at = PREPEND_MAX;
	b->full = false;
	b->buf[PREPEND_MAX] = 0;
}

/** Put @p len characters of the local @p name, and "/" before them, in front. */
static inline void prepend_name(struct prepend_buffer *b, const char *name, unsigned int len)
{
	// Room for the dots is kept.
	if (b->full || len + 1 + 3 > b->at) {
		b->full = true;
		return;
	}
	b->at -= len + 1;
	b->buf[b->at] = '/';
	for (unsigned int i = 0; i < len; i++)
		b->buf[b->at + 1 + i] = name[i];
}

/** The path as a string; "/" if nothing was put into it. */
static inline const char *prepend_end(struct prepend_buffer *b)
{
	if (b->full) {
		b->at -= 3;
		b->buf[b->at] = b->buf[b->at + 1] = b->buf[b->at + 2] = '.';
	} else if (b->at == PREPEND_MAX) {
		b->buf[--b->at] = '/';
	}
	return &b->buf[b->at];
}

#endif
