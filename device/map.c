// SPDX-License-Identifier: Apache-2.0
// Translation of kernel virtual addresses, and loads through it.
//
// Every page goes through a TLB, those of the direct map too: a hit costs a compare, and it has passed
// the segment lookup and the presence check when the entry was made. Page-table entries come from the
// target and may hold anything: a walk has a fixed number of steps, and what an entry points to is
// looked up in the segments like any other address.
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

static inline __attribute__((always_inline)) struct gs_tlb_entry
entry_get(const struct gs_tlb_entry GS_SHARED *from)
{
	struct gs_tlb_entry entry;

#ifdef __NVPTX__
	__asm__ volatile("ld.volatile.shared.v2.u64 {%0, %1}, [%2];"
			 : "=l"(entry.check), "=l"(entry.base)
			 : "l"((uint64_t)from));
#else
	entry.check = __atomic_load_n(&from->check, __ATOMIC_RELAXED);
	entry.base = __atomic_load_n(&from->base, __ATOMIC_RELAXED);
#endif
	return entry;
}

// Halves swapped, so that where addresses of the target differ, those of the engine do not: the base of one
// entry with the check of another one must not look like a third.
static inline __attribute__((always_inline)) uint64_t entry_check(uint64_t last, uint64_t base)
{
	return (last << 32 | last >> 32) ^ base;
}

static void entry_put(struct gs_tlb_entry GS_SHARED *to, uint64_t check, uint64_t base)
{
#ifdef __NVPTX__
	__asm__ volatile("st.volatile.shared.v2.u64 [%0], {%1, %2};" ::"l"((uint64_t)to),
			 "l"(check), "l"(base)
			 : "memory");
#else
	__atomic_store_n(&to->check, check, __ATOMIC_RELAXED);
	__atomic_store_n(&to->base, base, __ATOMIC_RELAXED);
#endif
}

static void entry_set(struct gs_tlb_entry GS_SHARED *to, uint64_t last, uint64_t base)
{
	entry_put(to, entry_check(last, base), base);
}

static inline struct gs_tlb_entry GS_SHARED *page_entry(struct gs_ctx *ctx, uint64_t address)
{
	return &gs_rt_block(ctx)->pages[(address >> GS_RT_PAGE_SHIFT) & (GS_TLB_PAGES - 1)];
}

static inline struct gs_tlb_entry GS_SHARED *stretch_entry(struct gs_ctx *ctx, uint64_t address)
{
	return &gs_rt_block(ctx)
			->stretches[(address >> GS_RT_STRETCH_SHIFT) & (GS_TLB_STRETCHES - 1)];
}

// The engine's address of what the TLBs know; 0: they do not.
static inline __attribute__((always_inline)) uint64_t lookup(struct gs_ctx *ctx, uint64_t address)
{
	struct gs_tlb_entry stretch = entry_get(stretch_entry(ctx, address));
#ifdef __NVPTX__
	// Both at once, and no branch: the threads of a warp stay together.
	struct gs_tlb_entry page = entry_get(page_entry(ctx, address));
	uint64_t at = 0;

	if (page.check == entry_check(address | GS_RT_PAGE_MASK, page.base))
		at = page.base + (address & GS_RT_PAGE_MASK);
	if (stretch.check == entry_check(address | GS_RT_STRETCH_MASK, stretch.base))
		at = stretch.base + (address & GS_RT_STRETCH_MASK);
	return at;
#else
	if (__builtin_expect(
		    stretch.check == entry_check(address | GS_RT_STRETCH_MASK, stretch.base), 1))
		return stretch.base + (address & GS_RT_STRETCH_MASK);

	struct gs_tlb_entry page = entry_get(page_entry(ctx, address));

	if (page.check == entry_check(address | GS_RT_PAGE_MASK, page.base))
		return page.base + (address & GS_RT_PAGE_MASK);
	return 0;
#endif
}

inline __attribute__((always_inline)) uint64_t gs_rt_stretch(struct gs_ctx *ctx, uint64_t address)
{
	struct gs_tlb_entry stretch = entry_get(stretch_entry(ctx, address));

	return stretch.check == entry_check(address | GS_RT_STRETCH_MASK, stretch.base)
		       ? stretch.base
		       : 0;
}

// A word of a presence bitmap: as it is now. The engine sets bits between the runs of a kernel that
// does not return, and on the host the target sets them at any time.
static uint64_t presence(const struct gs_map_segment *segment, uint64_t word)
{
	const uint64_t *at = (const uint64_t *)segment->present + word;

#ifdef __NVPTX__
	return *(const volatile uint64_t *)at;
#else
	// Pairs with the release in the target, which sets the bit after it put the page in place.
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
#endif
}

static bool page_present(struct gs_ctx *ctx, const struct gs_map_segment *segment, uint32_t index,
			 uint64_t page)
{
	if (!segment->present || presence(segment, page >> 6) >> (page & 63) & 1)
		return true;
#ifdef __NVPTX__
	(void)ctx;
	(void)index;
	return false;
#else
	return ctx->fault_fn && ((fault_fn *)ctx->fault_fn)(ctx->fault_arg, index, page);
#endif
}

static bool stretch_present(const struct gs_map_segment *segment, uint64_t page)
{
	uint64_t all = UINT64_MAX;

	if (!segment->present)
		return true;
	if (page & 63)
		return false;
	// Without a branch between them the loads are in flight together.
	for (uint32_t i = 0; i < GS_RT_STRETCH_SIZE / GS_RT_PAGE_SIZE / 64; i++)
		all &= presence(segment, (page >> 6) + i);
	return all == UINT64_MAX;
}

static inline struct gs_map_segment segment_at(const struct gs_block GS_SHARED *block,
					       uint32_t index)
{
	if (index < GS_BLOCK_SEGMENTS)
		return block->segments[index];
	return ((const struct gs_map_segment *)block->map.segments)[index];
}

// The segment that has the physical address.
static bool find_segment(struct gs_ctx *ctx, uint64_t phys, struct gs_map_segment *ret)
{
	const struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	uint32_t low = 0, high = block->map.segment_count;

	if (high > GS_MAP_SEGMENTS)
		high = GS_MAP_SEGMENTS;
	// First where the last one was found.
	for (uint32_t i = ctx->segment_hint < high ? ctx->segment_hint : high / 2; low < high;
	     i = low + (high - low) / 2) {
		*ret = segment_at(block, i);
		if (phys < ret->phys) {
			high = i;
		} else if (phys >= ret->end) {
			low = i + 1;
		} else {
			ctx->segment_hint = i;
			return true;
		}
	}
	return false;
}

// Where the page at @phys of @segment begins in the engine's address space; 0: not readable.
static uint64_t page_in(struct gs_ctx *ctx, const struct gs_map_segment *segment, uint64_t phys)
{
	uint64_t offset = phys - segment->phys;

#ifdef __NVPTX__
	// What is aligned in the target must be so here: a misaligned load ends the context.
	if ((segment->base + offset) & 15)
		return 0;
#endif
	// Half a page at the end of a segment is no page.
	if (segment->end - phys < GS_RT_PAGE_SIZE ||
	    !page_present(ctx, segment, ctx->segment_hint, offset >> GS_RT_PAGE_SHIFT))
		return 0;
	return segment->base + offset;
}

static uint64_t phys_page(struct gs_ctx *ctx, uint64_t phys)
{
	struct gs_map_segment segment;

	return find_segment(ctx, phys, &segment) ? page_in(ctx, &segment, phys) : 0;
}

uint64_t gs_rt_phys_page(struct gs_ctx *ctx, uint64_t phys)
{
	return phys_page(ctx, phys & ~GS_RT_PAGE_MASK);
}

// Intel SDM volume 3, 4.5: tables of 512 entries; a leaf of 1 GiB in the third level from the
// bottom, of 2 MiB in the second. The bit that makes a leaf is reserved in the levels above.
// @size_ret: bytes of the leaf.
static bool walk(struct gs_ctx *ctx, uint64_t address, uint64_t *ret, uint64_t *size_ret)
{
	const struct gs_map GS_SHARED *map = &gs_rt_block(ctx)->map;
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
		uint64_t page = phys_page(ctx, table);

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

			*size_ret = leaf_mask + 1;
			*ret = (phys & ~leaf_mask) | (address & leaf_mask & ~GS_RT_PAGE_MASK);
			return true;
		}
		table = phys;
	}
	*size_ret = GS_RT_PAGE_SIZE;
	*ret = table;
	return true;
}

static inline bool in_range(uint64_t page, uint64_t base, uint64_t size)
{
	return page >= base && page - base < size && size - (page - base) >= GS_RT_PAGE_SIZE;
}

// The stretch around the page, whose physical address is @phys, if it is linear from @first on for
// @size bytes and lies in @segment.
static bool add_stretch(struct gs_ctx *ctx, const struct gs_map_segment *segment, uint64_t page,
			uint64_t phys, uint64_t first, uint64_t size)
{
	uint64_t start = page & ~GS_RT_STRETCH_MASK, before = page - start;

	if (start < first || start - first > size || size - (start - first) < GS_RT_STRETCH_SIZE)
		return false;
	if (phys - segment->phys < before || segment->end - (phys - before) < GS_RT_STRETCH_SIZE)
		return false;

	uint64_t offset = phys - before - segment->phys;

	if (!stretch_present(segment, offset >> GS_RT_PAGE_SHIFT))
		return false;
	entry_set(stretch_entry(ctx, page), page | GS_RT_STRETCH_MASK, segment->base + offset);
	return true;
}

__attribute__((noinline)) uint64_t gs_rt_page(struct gs_ctx *ctx, uint64_t address)
{
	const struct gs_map GS_SHARED *map = &gs_rt_block(ctx)->map;
	uint64_t page = address & ~GS_RT_PAGE_MASK, known = lookup(ctx, page);
	uint64_t phys, first, size;

	if (known)
		return known;
	if (in_range(page, map->direct_base, map->direct_size)) {
		first = map->direct_base;
		size = map->direct_size;
		phys = page - first;
	} else if (in_range(page, map->image_base, map->image_size)) {
		first = map->image_base;
		size = map->image_size;
		phys = page - first + map->image_phys;
	} else if (walk(ctx, page, &phys, &size)) {
		first = page & ~(size - 1);
	} else {
		return 0;
	}
	if (phys & GS_RT_PAGE_MASK)
		return 0;

	struct gs_map_segment segment;
	uint64_t base = find_segment(ctx, phys, &segment) ? page_in(ctx, &segment, phys) : 0;

	if (base && !add_stretch(ctx, &segment, page, phys, first, size))
		entry_set(page_entry(ctx, page), page | GS_RT_PAGE_MASK, base);
	return base;
}

typedef uint64_t __attribute__((may_alias)) map_word;

// A part of the map, word by word, each thread its share: together, as each word takes long to come.
static void load_words(map_word GS_SHARED *to, uint64_t from, uint32_t count, uint32_t thread,
		       uint32_t threads)
{
	for (uint32_t i = thread; i < count; i += threads)
		to[i] = ((const map_word *)from)[i];
}

__attribute__((noinline)) void gs_rt_block_load(struct gs_ctx *ctx)
{
	struct gs_block GS_SHARED *block = gs_rt_block(ctx);
	const struct gs_map *map = (const struct gs_map *)ctx->map;
	uint32_t threads = ctx->threads, thread = ctx->thread_index % threads;
	uint32_t segments = map->segment_count;

	if (segments > GS_BLOCK_SEGMENTS)
		segments = GS_BLOCK_SEGMENTS;
	load_words((map_word GS_SHARED *)&block->map, (uint64_t)map, sizeof(*map) / 8, thread,
		   threads);
	load_words((map_word GS_SHARED *)block->segments, map->segments,
		   segments * (uint32_t)(sizeof(struct gs_map_segment) / 8), thread, threads);
	for (uint32_t i = thread; i < GS_TLB_PAGES; i += threads)
		entry_put(&block->pages[i], 0, 0);
	for (uint32_t i = thread; i < GS_TLB_STRETCHES; i += threads)
		entry_put(&block->stretches[i], 0, 0);
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
		uint64_t at = lookup(ctx, address);                                               \
                                                                                                  \
		if (__builtin_expect(at && can_load(address, (uint64_t)bits / 8), 1))             \
			return *(const volatile type *)at;                                        \
		return (uint##bits##_t)gs_rt_load_slow(ctx, address, bits / 8);                   \
	}

DEFINE_LOAD(8, uint8_t)
DEFINE_LOAD(16, target_u16)
DEFINE_LOAD(32, target_u32)
DEFINE_LOAD(64, target_u64)
