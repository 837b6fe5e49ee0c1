// SPDX-License-Identifier: Apache-2.0
// Translation of kernel virtual addresses, and loads through it.
//
// Every page goes through the TLB, those of the direct map too: a hit costs one compare, and it has
// passed the segment lookup and the presence check when the entry was made. Page-table entries come
// from the target and may hold anything: a walk has a fixed number of steps, and what an entry
// points to is looked up in the segments like any other address.
#include "rt.h"

#ifdef __NVPTX__
typedef uint16_t target_u16;
typedef uint32_t target_u32;
typedef uint64_t target_u64;
// A misaligned load ends the whole GPU context.
#define can_load(address, size) (((address) & ((size) - 1)) == 0)
#else
typedef uint16_t __attribute__((aligned(1), may_alias)) target_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) target_u32;
typedef uint64_t __attribute__((aligned(1), may_alias)) target_u64;
#define can_load(address, size) (((address) & GS_RT_PAGE_MASK) <= GS_RT_PAGE_SIZE - (size))
#endif

typedef uint32_t fault_fn(uint64_t arg, uint64_t segment, uint64_t page);

static inline struct gs_tlb_entry GS_SHARED *tlb_entry(struct gs_ctx *ctx, uint64_t address)
{
	return &gs_rt_block(ctx)->tlb[(address >> GS_RT_PAGE_SHIFT) & (GS_TLB_ENTRIES - 1)];
}

static inline uint64_t tlb_tag(uint64_t address)
{
	return (address >> GS_RT_PAGE_SHIFT) + 1;
}

static bool page_present(struct gs_ctx *ctx, const struct gs_map_segment *segment, uint32_t index,
			 uint64_t page)
{
	if (!segment->present)
		return true;

	const uint64_t *word = (const uint64_t *)segment->present + (page >> 6);
	uint64_t bit = UINT64_C(1) << (page & 63);

#ifdef __NVPTX__
	(void)ctx;
	(void)index;
	return *(const volatile uint64_t *)word & bit;
#else
	// Pairs with the release in the target, which sets the bit after it put the page in place.
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) & bit)
		return true;
	return ctx->fault_fn && ((fault_fn *)ctx->fault_fn)(ctx->fault_arg, index, page);
#endif
}

// Where the physical page begins in the engine's address space; 0: no such memory, or not readable.
static uint64_t phys_page(struct gs_ctx *ctx, const struct gs_map *map, uint64_t phys)
{
	const struct gs_map_segment *segments = (const struct gs_map_segment *)map->segments;
	uint32_t count = map->segment_count;
	uint32_t i = ctx->segment_hint;

	if (count > GS_MAP_SEGMENTS)
		count = GS_MAP_SEGMENTS;
	if (i >= count || phys < segments[i].phys || phys >= segments[i].end) {
		uint32_t low = 0, high = count;

		for (;;) {
			if (low >= high)
				return 0;
			i = low + (high - low) / 2;
			if (phys < segments[i].phys)
				high = i;
			else if (phys >= segments[i].end)
				low = i + 1;
			else
				break;
		}
		ctx->segment_hint = i;
	}

	uint64_t offset = phys - segments[i].phys;

#ifdef __NVPTX__
	// What is aligned in the target must be so here.
	if (segments[i].base & 7)
		return 0;
#endif
	// Half a page at the end of a segment is no page.
	if (segments[i].end - phys < GS_RT_PAGE_SIZE)
		return 0;
	if (!page_present(ctx, &segments[i], i, offset >> GS_RT_PAGE_SHIFT))
		return 0;
	return segments[i].base + offset;
}

uint64_t gs_rt_phys_page(struct gs_ctx *ctx, uint64_t phys)
{
	return phys_page(ctx, (const struct gs_map *)ctx->map, phys & ~GS_RT_PAGE_MASK);
}

// Intel SDM volume 3, 4.5: tables of 512 entries; a leaf of 1 GiB in the third level from the
// bottom, of 2 MiB in the second. The bit that makes a leaf is reserved in the levels above.
static bool walk(struct gs_ctx *ctx, const struct gs_map *map, uint64_t address, uint64_t *ret)
{
	uint32_t levels = map->levels;

	if (levels != 4 && levels != 5)
		return false;

	// Canonical: the bits above the translated ones repeat the topmost of them.
	uint32_t unused = 64 - (GS_RT_PAGE_SHIFT + 9 * levels);

	if ((uint64_t)((int64_t)(address << unused) >> unused) != address)
		return false;

	uint64_t table = map->root_phys & ~GS_RT_PAGE_MASK;

	ctx->walks++;
	for (uint32_t level = levels; level > 0; level--) {
		uint32_t shift = GS_RT_PAGE_SHIFT + 9 * (level - 1);
		uint64_t page = phys_page(ctx, map, table);

		if (!page)
			return false;

		const volatile target_u64 *entries = (const volatile target_u64 *)page;
		uint64_t entry = entries[(address >> shift) & 511];

		if (!(entry & GS_PTE_PRESENT))
			return false;

		uint64_t phys = entry & map->phys_mask & GS_PTE_ADDR;

		if (level > 1 && (entry & GS_PTE_PSE)) {
			if (level > 3)
				return false;

			uint64_t leaf_mask = (UINT64_C(1) << shift) - 1;

			*ret = (phys & ~leaf_mask) | (address & leaf_mask & ~GS_RT_PAGE_MASK);
			return true;
		}
		table = phys;
	}
	*ret = table;
	return true;
}

static inline bool in_range(uint64_t page, uint64_t base, uint64_t size)
{
	return page >= base && page - base < size && size - (page - base) >= GS_RT_PAGE_SIZE;
}

__attribute__((noinline)) uint64_t gs_rt_page(struct gs_ctx *ctx, uint64_t address)
{
	struct gs_tlb_entry GS_SHARED *entry = tlb_entry(ctx, address);

	if (entry->tag == tlb_tag(address))
		return entry->base;

	const struct gs_map *map = (const struct gs_map *)ctx->map;
	uint64_t page = address & ~GS_RT_PAGE_MASK;
	uint64_t phys;

	if (in_range(page, map->direct_base, map->direct_size))
		phys = page - map->direct_base;
	else if (in_range(page, map->image_base, map->image_size))
		phys = page - map->image_base + map->image_phys;
	else if (!walk(ctx, map, page, &phys))
		return 0;
	if (phys & GS_RT_PAGE_MASK)
		return 0;

	uint64_t base = phys_page(ctx, map, phys);

	if (base) {
		entry->tag = tlb_tag(address);
		entry->base = base;
	}
	return base;
}

__attribute__((noinline, cold)) void gs_rt_fault(struct gs_ctx *ctx, uint64_t address)
{
	if (!ctx->faults++)
		ctx->fault_address = address;
}

__attribute__((noinline, cold)) uint64_t gs_rt_load_slow(struct gs_ctx *ctx, uint64_t address,
							 uint32_t size)
{
	uint64_t offset = address & GS_RT_PAGE_MASK;
	uint64_t first = gs_rt_page(ctx, address);
	uint64_t in_first = GS_RT_PAGE_SIZE - offset;
	uint64_t second = 0;

	if (first && size > in_first) {
		// The page behind the last one of the address space is page 0: not a neighbour.
		if (address + in_first)
			second = gs_rt_page(ctx, address + in_first);
		if (!second)
			first = 0;
	}
	if (!first) {
		gs_rt_fault(ctx, address);
		return 0;
	}

	uint64_t at = first + offset;

	// Whole where possible: a pointer that the kernel changes meanwhile must not be seen in
	// halves.
	if (size <= in_first && can_load(at, size)) {
		switch (size) {
		case 1:
			return *(const volatile uint8_t *)at;
		case 2:
			return *(const volatile target_u16 *)at;
		case 4:
			return *(const volatile target_u32 *)at;
		default:
			return *(const volatile target_u64 *)at;
		}
	}

	uint64_t value = 0;

	for (uint32_t i = 0; i < size; i++) {
		uint64_t byte = i < in_first ? at + i : second + (i - in_first);

		value |= (uint64_t)*(const volatile uint8_t *)byte << (8 * i);
	}
	return value;
}

#define DEFINE_LOAD(bits, type)                                                                   \
	inline __attribute__((always_inline)) uint##bits##_t gs_rt_load##bits(struct gs_ctx *ctx, \
									      uint64_t address)   \
	{                                                                                         \
		struct gs_tlb_entry GS_SHARED *entry = tlb_entry(ctx, address);                   \
                                                                                                  \
		if (__builtin_expect(entry->tag == tlb_tag(address) &&                            \
					     can_load(address, (uint64_t)bits / 8),               \
				     1))                                                          \
			return *(const volatile type *)(entry->base +                             \
							(address & GS_RT_PAGE_MASK));             \
		return (uint##bits##_t)gs_rt_load_slow(ctx, address, bits / 8);                   \
	}

DEFINE_LOAD(8, uint8_t)
DEFINE_LOAD(16, target_u16)
DEFINE_LOAD(32, target_u32)
DEFINE_LOAD(64, target_u64)
