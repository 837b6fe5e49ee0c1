// SPDX-License-Identifier: Apache-2.0
#include "layout.h"

#include <inttypes.h>
#include <string.h>

#include "kernel.h"
#include "pgtable.h"
#include "util/array.h"

enum {
	// NR_CPUS of x86-64 is 8192 at most (arch/x86/Kconfig).
	MAX_CPUS = 8192,
};

// Larger than any kernel's types: Debian's have 4 to 5 MiB.
#define MAX_BTF (UINT64_C(64) << 20)

enum {
	SYM_TEXT,
	SYM_END,
	SYM_PER_CPU_START,
	SYM_PER_CPU_END,
	SYM_PER_CPU_OFFSET,
	SYM_NR_CPU_IDS,
	SYM_CPU_POSSIBLE_MASK,
	SYM_PAGE_OFFSET_BASE,
	SYM_VMALLOC_BASE,
	SYM_VMEMMAP_BASE,
	SYM_START_BTF,
	SYM_STOP_BTF,
	SYM_MODULES,
	SYM_COUNT,
};

static const char *const symbol_names[SYM_COUNT] = {
	[SYM_TEXT] = "_text",
	[SYM_END] = "_end",
	[SYM_PER_CPU_START] = "__per_cpu_start",
	[SYM_PER_CPU_END] = "__per_cpu_end",
	[SYM_PER_CPU_OFFSET] = "__per_cpu_offset",
	[SYM_NR_CPU_IDS] = "nr_cpu_ids",
	[SYM_CPU_POSSIBLE_MASK] = "__cpu_possible_mask",
	[SYM_PAGE_OFFSET_BASE] = "page_offset_base",
	[SYM_VMALLOC_BASE] = "vmalloc_base",
	[SYM_VMEMMAP_BASE] = "vmemmap_base",
	[SYM_START_BTF] = "__start_BTF",
	[SYM_STOP_BTF] = "__stop_BTF",
	[SYM_MODULES] = "modules",
};

// Where these lie if the kernel was built without CONFIG_RANDOMIZE_MEMORY and so has no variables
// for them (Documentation/arch/x86/x86_64/mm.rst).
struct default_bases {
	uint64_t page_offset, vmalloc, vmemmap;
};

static const struct default_bases defaults_4_levels = {
	UINT64_C(0xffff888000000000),
	UINT64_C(0xffffc90000000000),
	UINT64_C(0xffffea0000000000),
};
static const struct default_bases defaults_5_levels = {
	UINT64_C(0xff11000000000000),
	UINT64_C(0xffa0000000000000),
	UINT64_C(0xffd4000000000000),
};

static bool walk(const struct gs_kernel *kernel, uint64_t address, uint64_t *phys_ret)
{
	struct pgtable pgtable = memory_pgtable(&kernel->memory);
	struct pgtable_leaf leaf;
	struct gs_error *err = pgtable_walk(&pgtable, address, &leaf);

	if (err) {
		gs_error_destroy(err);
		return false;
	}
	*phys_ret = leaf.phys;
	return true;
}

static uint64_t variable_or(const struct gs_kernel *kernel, const struct gs_symbol_query *symbol,
			    uint64_t fallback)
{
	uint64_t value;

	if (!symbol->found)
		return fallback;

	struct gs_error *err = memory_read_u64(&kernel->memory, symbol->address, &value);

	if (err) {
		gs_error_destroy(err);
		return fallback;
	}
	return value;
}

// The image is contiguous, virtually and physically.
static struct gs_error *init_image(struct gs_kernel *kernel, const struct gs_symbol_query *symbols)
{
	struct gs_map *map = &kernel->memory.map;
	uint64_t start = symbols[SYM_TEXT].address;
	uint64_t end = symbols[SYM_END].address;
	uint64_t phys;

	if (!symbols[SYM_TEXT].found)
		vmcoreinfo_symbol(&kernel->info, "_stext", &start);
	kernel->symbols.image_start = start;
	kernel->symbols.image_end = KERNEL_MAP_START + KERNEL_IMAGE_MAX;
	if (!walk(kernel, start, &phys))
		return gs_error_address(GS_ERROR_KERNEL, start,
					"the kernel image at 0x%" PRIx64 " is not mapped", start);
	// Without CONFIG_KALLSYMS_ALL there is no _end: the page tables translate the image just as
	// well.
	if (!symbols[SYM_END].found || end <= start || end - start > KERNEL_IMAGE_MAX)
		return NULL;
	kernel->symbols.image_end = end;
	map->image_base = start;
	map->image_size = end - start;
	map->image_phys = phys;
	return NULL;
}

static void init_bases(struct gs_kernel *kernel, const struct gs_symbol_query *symbols)
{
	struct gs_map *map = &kernel->memory.map;
	const struct default_bases *defaults =
		map->levels == 5 ? &defaults_5_levels : &defaults_4_levels;
	uint64_t base = variable_or(kernel, &symbols[SYM_PAGE_OFFSET_BASE], defaults->page_offset);
	uint64_t phys;

	kernel->facts.page_offset_base = base;
	// Believed only if the page tables agree where it can be seen: the page tables themselves
	// lie in it.
	if (walk(kernel, base + map->root_phys, &phys) && phys == map->root_phys &&
	    map->segment_count) {
		map->direct_base = base;
		map->direct_size = kernel->segments[map->segment_count - 1].end;
	}

	map->vmalloc_base = variable_or(kernel, &symbols[SYM_VMALLOC_BASE], defaults->vmalloc);
	map->vmemmap_base = variable_or(kernel, &symbols[SYM_VMEMMAP_BASE], defaults->vmemmap);
	vmcoreinfo_sizeof(&kernel->info, "page", &map->page_struct_size);
	kernel->facts.vmalloc_base = map->vmalloc_base;
	kernel->facts.vmemmap_base = map->vmemmap_base;
}

// nr_cpu_ids is a constant in kernels for one CPU; then the mask tells.
static uint32_t cpu_limit(const struct gs_kernel *kernel, const struct gs_symbol_query *symbols,
			  const uint64_t *mask, size_t mask_words)
{
	uint32_t limit = 0;

	if (symbols[SYM_NR_CPU_IDS].found) {
		struct gs_error *err =
			memory_read_u32(&kernel->memory, symbols[SYM_NR_CPU_IDS].address, &limit);

		gs_error_destroy(err);
	}
	for (size_t i = 0; i < mask_words && !limit; i++) {
		size_t word = mask_words - 1 - i;

		if (mask[word])
			limit = word * 64 + 64 - __builtin_clzll(mask[word]);
	}

	// The array has NR_CPUS entries.
	uint64_t room = symbols[SYM_PER_CPU_OFFSET].size / sizeof(uint64_t);

	if (room && limit > room)
		limit = room;
	return limit < 1 ? 1 : limit > MAX_CPUS ? MAX_CPUS : limit;
}

static void init_cpus(struct gs_kernel *kernel, const struct gs_symbol_query *symbols)
{
	struct gs_map *map = &kernel->memory.map;
	uint64_t mask[MAX_CPUS / 64] = { 0 };
	size_t mask_size = sizeof(mask);

	if (symbols[SYM_CPU_POSSIBLE_MASK].size && symbols[SYM_CPU_POSSIBLE_MASK].size < mask_size)
		mask_size = symbols[SYM_CPU_POSSIBLE_MASK].size;
	if (symbols[SYM_CPU_POSSIBLE_MASK].found)
		memory_read_some(&kernel->memory, symbols[SYM_CPU_POSSIBLE_MASK].address, mask,
				 mask_size);

	map->percpu_start = kernel->symbols.percpu_start;
	map->percpu_offset =
		symbols[SYM_PER_CPU_OFFSET].found ? symbols[SYM_PER_CPU_OFFSET].address : 0;
	map->cpus = cpu_limit(kernel, symbols, mask, ARRAY_SIZE(mask));

	for (uint32_t cpu = 0; cpu < map->cpus; cpu++)
		kernel->facts.cpus += mask[cpu / 64] >> (cpu % 64) & 1;
	if (!kernel->facts.cpus)
		kernel->facts.cpus = map->cpus;
}

static void init_btf(struct gs_kernel *kernel, const struct gs_symbol_query *symbols)
{
	uint64_t start = symbols[SYM_START_BTF].address;
	uint64_t stop = symbols[SYM_STOP_BTF].address;

	if (!symbols[SYM_START_BTF].found || !symbols[SYM_STOP_BTF].found || stop <= start ||
	    stop - start > MAX_BTF)
		return;
	kernel->btf_start = start;
	kernel->facts.btf_size = stop - start;
}

struct gs_error *layout_init(struct gs_kernel *kernel)
{
	struct gs_symbol_query symbols[SYM_COUNT];

	for (int i = 0; i < SYM_COUNT; i++)
		symbols[i] = (struct gs_symbol_query){ .name = symbol_names[i] };

	struct gs_error *err = symbols_find(&kernel->symbols, symbols, SYM_COUNT);

	if (err)
		return err;

	if (symbols[SYM_PER_CPU_START].found && symbols[SYM_PER_CPU_END].found) {
		kernel->symbols.percpu_start = symbols[SYM_PER_CPU_START].address;
		kernel->symbols.percpu_end = symbols[SYM_PER_CPU_END].address;
	}
	err = init_image(kernel, symbols);
	if (err)
		return err;
	init_bases(kernel, symbols);
	init_cpus(kernel, symbols);
	init_btf(kernel, symbols);
	if (symbols[SYM_MODULES].found)
		kernel->modules_head = symbols[SYM_MODULES].address;
	return NULL;
}

struct gs_error *layout_percpu(const struct gs_kernel *kernel, uint32_t cpu, uint64_t offset,
			       uint64_t *ret)
{
	const struct gs_map *map = &kernel->memory.map;
	uint64_t area;

	if (cpu >= map->cpus)
		return gs_error_create(GS_ERROR_KERNEL, "no CPU %u: the kernel has %u", cpu,
				       map->cpus);
	// A kernel for one CPU has no such array, and its variables lie where they were linked.
	if (!map->percpu_offset) {
		*ret = map->percpu_start + offset;
		return NULL;
	}

	struct gs_error *err =
		memory_read_u64(&kernel->memory, map->percpu_offset + cpu * sizeof(area), &area);

	if (err)
		return gs_error_prefix(err, "__per_cpu_offset[%u]", cpu);
	*ret = area + map->percpu_start + offset;
	return NULL;
}
