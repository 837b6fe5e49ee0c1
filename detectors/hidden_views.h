/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Of the detector `hidden`: which objects were seen where, and the members that only it reads.
 */
#ifndef HIDDEN_VIEWS_H
#define HIDDEN_VIEWS_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

/** What was seen of one object in this run. */
struct seen {
	u64 object;
	/** Run that this is of, from 1. */
	u32 run;
	/** A bit for each view. */
	u32 views;
};

/** A set of up to 2^@p bits objects, which is empty at the start of each run. */
#define SEEN(name, bits)                       \
	static struct {                        \
		struct seen at[1U << bits];    \
		/* In the order of arrival. */ \
		u32 order[1U << bits];         \
		u32 count;                     \
		/* No room. */                 \
		u32 lost;                      \
	} name

enum { SEEN_PROBES = 64 };

/** Where @p object is or has room; SEEN_PROBES places are looked at. */
static __always_inline u32 __seen_find(const struct seen *at, u32 size, u64 object, u32 run)
{
	u32 hash = (u32)(object * 0x61C8864680B583EBULL >> 32);

	for (u32 i = 0; i < SEEN_PROBES; i++) {
		u32 slot = (hash + i) % size;

		if (at[slot].run != run || at[slot].object == object)
			return slot;
	}
	return size;
}

#define __seen_size(set) ((u32)(sizeof((set).at) / sizeof((set).at[0])))

/** @p object was seen in @p view. */
#define see(set, object_, view)                                                 \
	do {                                                                    \
		u64 __object = (u64)(object_);                                  \
		u32 __run = (u32)run_count() + 1, __size = __seen_size(set);    \
		u32 __slot = __seen_find((set).at, __size, __object, __run);    \
                                                                                \
		if (__slot == __size) {                                         \
			(set).lost++;                                           \
			break;                                                  \
		}                                                               \
		if ((set).at[__slot].run != __run) {                            \
			(set).at[__slot] = (struct seen){ __object, __run, 0 }; \
			(set).order[(set).count++ % __size] = __slot;           \
		}                                                               \
		(set).at[__slot].views |= (view);                               \
	} while (0)

/** The @p i th object of this run. */
#define seen_at(set, i) (&(set).at[(set).order[(i) % __seen_size(set)] % __seen_size(set)])

/** The views of @p object in this run. */
#define seen_views(set, object_)                                                               \
	({                                                                                     \
		u64 __wanted = (u64)(object_);                                                 \
		u32 __now = (u32)run_count() + 1, __n = __seen_size(set);                      \
		u32 __found = __seen_find((set).at, __n, __wanted, __now);                     \
                                                                                               \
		__found < __n && (set).at[__found].run == __now ? (set).at[__found].views : 0; \
	})

#define seen_count(set) min((set).count, __seen_size(set))

#define seen_clear(set) ((set).count = (set).lost = 0)

/** What is missing somewhere. Sockets have a table of their own, as not every run looks at them. */
ALARMS(hidden_objects, 128, .rise_ms = 2000, .fall_ms = 2000);
ALARMS(hidden_sockets, 128, .rise_ms = 2000, .fall_ms = 2000);

enum { VIEWS_MAX = 6, VIEW_NAME = 10, VIEW_NAMES = VIEWS_MAX * VIEW_NAME };

/** The names of @p views, with commas between them, in @p to. */
static inline void view_names(char to[VIEW_NAMES], const char names[][VIEW_NAME], u32 views)
{
	u32 at = 0;

	for (u32 view = 0; view < VIEWS_MAX; view++) {
		if (!(views >> view & 1))
			continue;
		if (at)
			to[at++ % VIEW_NAMES] = ',';
		for (u32 i = 0; i < VIEW_NAME - 1 && names[view][i]; i++)
			to[at++ % VIEW_NAMES] = names[view][i];
	}
	to[at % VIEW_NAMES] = 0;
}

struct list_head___both {
	struct list_head___both *next, *prev;
} __kernel_type;

/** Whether the neighbours of @p node lead to it. One that was taken off leads to itself, or nowhere. */
static inline bool list_linked(const void *at)
{
	const struct list_head___both *node = at, *next = node->next, *prev = node->prev;

	return next && next != node && next->prev == node && prev && prev->next == node;
}

#endif
