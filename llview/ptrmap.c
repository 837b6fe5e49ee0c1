// SPDX-License-Identifier: Apache-2.0
#include "ptrmap.h"

static size_t hash(const void *key)
{
	// Fibonacci hashing; the low bits of a pointer are alignment.
	return ((uintptr_t)key >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

static struct lv_ptrmap_entry *probe(struct lv_ptrmap_entry *entries, size_t capacity,
				     const void *key)
{
	size_t at = hash(key) & (capacity - 1);

	while (entries[at].key && entries[at].key != key)
		at = (at + 1) & (capacity - 1);
	return &entries[at];
}

struct lv_ptrmap_entry *lv_ptrmap_find(const struct lv_ptrmap *map, const void *key)
{
	if (!map->capacity)
		return NULL;

	struct lv_ptrmap_entry *entry = probe(map->entries, map->capacity, key);

	return entry->key ? entry : NULL;
}

static void grow(struct lv_ptrmap *map)
{
	size_t capacity = map->capacity ? map->capacity * 2 : 256;
	struct lv_ptrmap_entry *entries = calloc(capacity, sizeof(*entries));

	if (!entries)
		lv_enomem();
	for (size_t i = 0; i < map->capacity; i++) {
		if (map->entries[i].key)
			*probe(entries, capacity, map->entries[i].key) = map->entries[i];
	}
	free(map->entries);
	map->entries = entries;
	map->capacity = capacity;
}

struct lv_ptrmap_entry *lv_ptrmap_add(struct lv_ptrmap *map, const void *key)
{
	if (map->count * 2 >= map->capacity)
		grow(map);

	struct lv_ptrmap_entry *entry = probe(map->entries, map->capacity, key);

	if (!entry->key) {
		entry->key = key;
		map->count++;
	}
	return entry;
}
