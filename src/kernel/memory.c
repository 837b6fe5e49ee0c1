// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <inttypes.h>
#include <string.h>

#include "pgtable.h"

struct pgtable memory_pgtable(const struct memory *memory)
{
	return (struct pgtable){
		.target = memory->target,
		.root = memory->map.root_phys,
		.levels = memory->map.levels,
		.phys_mask = memory->map.phys_mask,
	};
}

struct gs_error *memory_translate(const struct memory *memory, uint64_t address, uint64_t *phys_ret,
				  uint64_t *left_ret)
{
	const struct gs_map *map = &memory->map;
	uint64_t left;

	if (address - map->direct_base < map->direct_size) {
		*phys_ret = address - map->direct_base;
		left = map->direct_size - *phys_ret;
	} else if (address - map->image_base < map->image_size) {
		*phys_ret = address - map->image_base + map->image_phys;
		left = map->image_size - (address - map->image_base);
	} else {
		struct pgtable pgtable = memory_pgtable(memory);
		struct pgtable_leaf leaf;
		struct gs_error *err = pgtable_walk(&pgtable, address, &leaf);

		if (err)
			return err;
		*phys_ret = leaf.phys;
		left = leaf.size - (leaf.phys & (leaf.size - 1));
	}
	if (left_ret)
		*left_ret = left;
	return NULL;
}

struct gs_error *memory_read(const struct memory *memory, uint64_t address, void *buf,
			     uint64_t size)
{
	uint8_t *out = buf;

	while (size) {
		uint64_t phys, left;
		struct gs_error *err = memory_translate(memory, address, &phys, &left);

		if (err)
			return err;
		if (left > size)
			left = size;
		err = gs_target_read(memory->target, phys, out, left);
		if (err)
			return gs_error_prefix(pgtable_fault(err, address),
					       "0x%" PRIx64 " is mapped outside memory", address);
		out += left;
		address += left;
		size -= left;
	}
	return NULL;
}

size_t memory_read_some(const struct memory *memory, uint64_t address, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		uint64_t phys, left;
		struct gs_error *err = memory_translate(memory, address + done, &phys, &left);

		if (err) {
			gs_error_destroy(err);
			break;
		}

		// A page at a time: memory may end inside a large leaf.
		uint64_t page = GS_PAGE_SIZE - (phys & (GS_PAGE_SIZE - 1));

		if (left > page)
			left = page;
		if (left > size - done)
			left = size - done;
		err = gs_target_read(memory->target, phys, (uint8_t *)buf + done, left);
		if (err) {
			gs_error_destroy(err);
			break;
		}
		done += left;
	}
	return done;
}

struct gs_error *memory_read_u32(const struct memory *memory, uint64_t address, uint32_t *ret)
{
	return memory_read(memory, address, ret, sizeof(*ret));
}

struct gs_error *memory_read_u64(const struct memory *memory, uint64_t address, uint64_t *ret)
{
	return memory_read(memory, address, ret, sizeof(*ret));
}

struct gs_error *memory_read_string(const struct memory *memory, uint64_t address, char *buf,
				    size_t len)
{
	if (!len)
		return NULL;

	size_t done = 0;

	// Up to the end of a page at a time, so that a string at the end of mapped memory can be
	// read.
	while (done < len - 1) {
		size_t chunk = GS_PAGE_SIZE - ((address + done) & (GS_PAGE_SIZE - 1));

		if (chunk > len - 1 - done)
			chunk = len - 1 - done;

		struct gs_error *err = memory_read(memory, address + done, buf + done, chunk);

		if (err) {
			buf[done] = '\0';
			return err;
		}
		if (memchr(buf + done, '\0', chunk))
			return NULL;
		done += chunk;
	}
	buf[done] = '\0';
	return NULL;
}
