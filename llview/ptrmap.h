/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A hash table from pointers to small structures.
 */
#ifndef LLVIEW_PTRMAP_H
#define LLVIEW_PTRMAP_H

#include "llview.h"

struct lv_ptrmap_entry {
	const void *key;
	unsigned int number;
	LLVMValueRef first, second;
};

struct lv_ptrmap {
	struct lv_ptrmap_entry *entries;
	size_t count, capacity;
};

/** The entry of @p key or NULL. Pointers to entries hold until the next lv_ptrmap_add(). */
struct lv_ptrmap_entry *lv_ptrmap_find(const struct lv_ptrmap *map, const void *key);

/** The entry of @p key, made (zeroed) if it is not there. */
struct lv_ptrmap_entry *lv_ptrmap_add(struct lv_ptrmap *map, const void *key);

#endif
