// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "pgtable.h"
#include "util/cleanup.h"

enum {
	// Notes whose page tables fit that are worth a search for symbols: real memory has one,
	// after a kexec perhaps two.
	MAX_NOTES = 4,
	// Notes that are looked at: a hostile guest can fill its memory with them.
	MAX_CANDIDATES = 1 << 16,
};

static struct gs_error *init_segments(struct gs_kernel *kernel)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(kernel->target, &count);

	if (!count || count > GS_MAP_SEGMENTS)
		return gs_error_create(GS_ERROR_KERNEL,
				       "the target has %zu memory segments, 1 to %d are supported",
				       count, GS_MAP_SEGMENTS);
	kernel->segments = calloc(count, sizeof(*kernel->segments));
	if (!kernel->segments)
		return &gs_enomem;
	for (size_t i = 0; i < count; i++)
		kernel->segments[i] = (struct gs_map_segment){
			.phys = segments[i].phys,
			.end = segments[i].phys + segments[i].size,
			.base = (uintptr_t)segments[i].host,
			.present = (uintptr_t)segments[i].present,
		};
	kernel->memory.map.segments = (uintptr_t)kernel->segments;
	kernel->memory.map.segment_count = count;
	return NULL;
}

// Root of the page tables as the note has it, and the proof: _stext translates to where phys_base
// puts it.
static struct gs_error *init_page_tables(struct gs_kernel *kernel)
{
	const struct vmcoreinfo *info = &kernel->info;
	struct gs_map *map = &kernel->memory.map;
	uint64_t root, stext;
	int64_t phys_base, level5 = 0, sme_mask = 0;

	if (!vmcoreinfo_symbol(info, "swapper_pg_dir", &root) ||
	    !vmcoreinfo_symbol(info, "_stext", &stext) ||
	    !vmcoreinfo_number(info, "phys_base", &phys_base))
		return gs_error_address(
			GS_ERROR_KERNEL, info->phys,
			"VMCOREINFO at physical 0x%" PRIx64
			" lacks swapper_pg_dir, _stext or phys_base: not of an x86-64 kernel",
			info->phys);
	vmcoreinfo_number(info, "pgtable_l5_enabled", &level5);
	// Since Linux kernel commit 65f750e5457a ("x86/kdump: Export the SME mask to vmcoreinfo")
	// (in v5.0).
	vmcoreinfo_number(info, "sme_mask", &sme_mask);

	map->root_phys = root - KERNEL_MAP_START + (uint64_t)phys_base;
	map->levels = level5 ? 5 : 4;
	map->phys_mask = GS_PTE_ADDR & ~(uint64_t)sme_mask;

	struct pgtable pgtable = memory_pgtable(&kernel->memory);
	struct pgtable_leaf leaf;
	struct gs_error *err = pgtable_walk(&pgtable, stext, &leaf);

	if (err)
		return gs_error_prefix(err,
				       "the page tables that VMCOREINFO at physical 0x%" PRIx64
				       " names do not translate _stext",
				       info->phys);
	if (leaf.phys != stext - KERNEL_MAP_START + (uint64_t)phys_base)
		return gs_error_address(GS_ERROR_KERNEL, stext,
					"_stext (0x%" PRIx64 ") translates to physical 0x%" PRIx64
					", VMCOREINFO's phys_base has it elsewhere: a stale note",
					stext, leaf.phys);
	return NULL;
}

static void forget_candidate(struct gs_kernel *kernel)
{
	const struct gs_map *map = &kernel->memory.map;
	struct gs_map empty = { .segments = map->segments, .segment_count = map->segment_count };

	symbols_deinit(&kernel->symbols);
	kernel->memory.map = empty;
	memset(&kernel->facts, 0, sizeof(kernel->facts));
	kernel->btf_start = 0;
	kernel->modules_head = 0;
}

static struct gs_error *init_symbols(struct gs_kernel *kernel,
				     const struct gs_kernel_options *options)
{
	uint64_t stext = 0;

	if (options && options->system_map) {
		vmcoreinfo_symbol(&kernel->info, "_stext", &stext);
		return symbols_init_system_map(&kernel->symbols, options->system_map, stext);
	}
	return symbols_init_kallsyms(&kernel->symbols, &kernel->memory, &kernel->info, false);
}

static void init_facts(struct gs_kernel *kernel)
{
	struct gs_kernel_facts *facts = &kernel->facts;
	const struct symbols *symbols = &kernel->symbols;

	facts->note_phys = kernel->info.phys;
	facts->note_size = kernel->info.size;
	vmcoreinfo_hex(&kernel->info, "KERNELOFFSET", &facts->kaslr_offset);
	facts->kallsyms_encoding = symbols->entries
					   ? "System.map"
					   : kallsyms_encoding_names[symbols->kallsyms.encoding];
	facts->kallsyms_named = symbols->named;
	facts->symbols = symbols_count(symbols);
}

static struct gs_error *init_from_note(struct gs_kernel *kernel,
				       const struct gs_kernel_options *options)
{
	struct gs_error *err = init_symbols(kernel, options);

	if (!err)
		err = layout_init(kernel);
	if (!err)
		init_facts(kernel);
	return err;
}

static struct gs_error *find_kernel(struct gs_kernel *kernel,
				    const struct gs_kernel_options *options)
{
	struct vmcoreinfo_search search;
	_cleanup_error_ struct gs_error *last = NULL;
	unsigned int notes = 0, tried = 0;

	vmcoreinfo_search_init(&search, kernel->target);
	while (tried < MAX_NOTES && notes < MAX_CANDIDATES &&
	       vmcoreinfo_search_next(&search, &kernel->info)) {
		struct gs_error *err = init_page_tables(kernel);
		bool fits = !err;

		notes++;
		if (fits) {
			err = init_from_note(kernel, options);
			if (!err)
				return NULL;
		}
		forget_candidate(kernel);
		// What is wrong with a note whose page tables fit says more than that another one
		// is stale.
		if (fits || !tried) {
			gs_error_destroy(last);
			last = err;
		} else {
			gs_error_destroy(err);
		}
		tried += fits;
	}
	if (last)
		return gs_error_prefix(
			no_cleanup_ptr(last),
			"%s: no Linux kernel that can be read (%u VMCOREINFO note%s)",
			gs_target_spec(kernel->target), notes, notes == 1 ? "" : "s");
	return gs_error_create(
		GS_ERROR_KERNEL,
		"%s: no Linux kernel: no VMCOREINFO note in its memory. Still booting, another system, or "
		"built without CONFIG_CRASH_CORE (CONFIG_VMCORE_INFO)?",
		gs_target_spec(kernel->target));
}

struct gs_error *gs_kernel_open(struct gs_target *target, const struct gs_kernel_options *options,
				struct gs_kernel **ret)
{
	struct gs_kernel *kernel = calloc(1, sizeof(*kernel));

	if (!kernel)
		return &gs_enomem;
	kernel->target = target;
	kernel->memory.target = target;

	struct gs_error *err = init_segments(kernel);

	if (!err)
		err = find_kernel(kernel, options);
	if (err) {
		gs_kernel_close(kernel);
		return err;
	}
	*ret = kernel;
	return NULL;
}

void gs_kernel_close(struct gs_kernel *kernel)
{
	if (!kernel)
		return;
	module_cache_deinit(&kernel->modules);
	types_destroy(kernel->types);
	symbols_deinit(&kernel->symbols);
	free(kernel->segments);
	free(kernel);
}

struct gs_target *gs_kernel_target(struct gs_kernel *kernel)
{
	return kernel->target;
}

const char *gs_kernel_release(const struct gs_kernel *kernel)
{
	return kernel->info.release;
}

const struct gs_map *gs_kernel_map(const struct gs_kernel *kernel)
{
	return &kernel->memory.map;
}

void gs_kernel_facts(const struct gs_kernel *kernel, struct gs_kernel_facts *ret)
{
	*ret = kernel->facts;
}

struct gs_error *gs_kernel_find_symbols(struct gs_kernel *kernel, struct gs_symbol_query *queries,
					size_t count)
{
	struct gs_error *err = symbols_find(&kernel->symbols, queries, count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		if (!queries[i].found)
			return modules_find_symbols(kernel, queries, count);
	return NULL;
}

struct gs_error *gs_kernel_find_symbol(struct gs_kernel *kernel, const char *name, uint64_t *ret)
{
	struct gs_symbol_query query = { .name = name };
	struct gs_error *err = gs_kernel_find_symbols(kernel, &query, 1);

	if (err)
		return err;
	if (!query.found)
		return gs_error_create(GS_ERROR_KERNEL, "no symbol %s", name);
	*ret = query.address;
	return NULL;
}

struct gs_error *gs_kernel_for_each_symbol(struct gs_kernel *kernel,
					   bool (*fn)(void *arg, const char *name, char type,
						      uint64_t address),
					   void *arg)
{
	symbols_for_each(&kernel->symbols, fn, arg);
	return NULL;
}

void gs_kernel_symbolize(struct gs_kernel *kernel, uint64_t address, char *buf, size_t len)
{
	char name[KALLSYMS_NAME_LEN];
	uint64_t start, size;
	const char *module;

	if (symbols_at(&kernel->symbols, address, name, &start, &size))
		snprintf(buf, len, "%s+0x%" PRIx64 "/0x%" PRIx64, name, address - start, size);
	else if (modules_symbol_at(kernel, address, name, &start, &size, &module))
		snprintf(buf, len, "%s+0x%" PRIx64 "/0x%" PRIx64 " [%s]", name, address - start,
			 size, module);
	else
		snprintf(buf, len, "0x%" PRIx64, address);
}

struct gs_error *gs_kernel_types(struct gs_kernel *kernel, struct types **ret)
{
	if (!kernel->types) {
		size_t size = kernel->facts.btf_size;

		if (!size)
			return gs_error_create(
				GS_ERROR_KERNEL,
				"kernel %s has no types: built without CONFIG_DEBUG_INFO_BTF",
				kernel->info.release);

		_cleanup_free_ void *blob = malloc(size);

		if (!blob)
			return &gs_enomem;

		struct gs_error *err = memory_read(&kernel->memory, kernel->btf_start, blob, size);

		if (err)
			return gs_error_prefix(err, "the kernel's types (BTF) at 0x%" PRIx64,
					       kernel->btf_start);
		err = types_create(blob, size, &kernel->types);
		if (err)
			return err;
	}
	*ret = kernel->types;
	return NULL;
}

struct gs_error *gs_kernel_btf(struct gs_kernel *kernel, struct btf **ret)
{
	struct types *types;
	struct gs_error *err = gs_kernel_types(kernel, &types);

	if (!err)
		*ret = types_btf(types);
	return err;
}

struct gs_error *gs_kernel_translate(struct gs_kernel *kernel, uint64_t address, uint64_t *phys_ret)
{
	return memory_translate(&kernel->memory, address, phys_ret, NULL);
}

struct gs_error *gs_kernel_read(struct gs_kernel *kernel, uint64_t address, void *buf,
				uint64_t size)
{
	return memory_read(&kernel->memory, address, buf, size);
}

struct gs_error *gs_kernel_read_string(struct gs_kernel *kernel, uint64_t address, char *buf,
				       size_t len)
{
	return memory_read_string(&kernel->memory, address, buf, len);
}
