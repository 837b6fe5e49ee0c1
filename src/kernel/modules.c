// SPDX-License-Identifier: Apache-2.0
#include "modules.h"

#include <ctype.h>
#include <elf.h>
#include <inttypes.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "util/array.h"
#include "util/cleanup.h"

enum {
	// Distributions load 50 to 300.
	MAX_MODULES = 8192,
	// Memory types of a module (enum mod_mem_type has 7), or core and init layout.
	MAX_REGIONS = 16,
	// The largest drivers have some 20,000 symbols.
	MAX_SYMBOLS = 1 << 20,
	MAX_STRINGS = 32 << 20,
	// Symbols of all modules together; 300 modules take some 10 MiB.
	MAX_SYMBOL_BYTES = 128 << 20,
};

// Offsets in struct module, in bytes.
struct module_layout {
	uint64_t list, name, state, kallsyms;
	uint64_t name_size;
	uint64_t symtab, num_symtab, strtab;
	struct {
		uint64_t base, size;
	} regions[MAX_REGIONS];
	size_t region_count;
	// Where the size of the text is, if it differs from that of region 0.
	uint64_t text_size;
	bool has_text_size, has_kallsyms;
	int64_t unformed;
};

struct module_info {
	struct gs_module module;
	struct {
		uint64_t base, size;
	} regions[MAX_REGIONS];
	size_t region_count;
	// Address of its struct mod_kallsyms.
	uint64_t kallsyms;
	// Symbols, once loaded.
	bool loaded;
	Elf64_Sym *symbols;
	size_t symbol_count;
	char *strings;
	size_t strings_size;
};

static void module_info_deinit(struct module_info *info)
{
	free(info->symbols);
	free(info->strings);
}

void module_cache_deinit(struct module_cache *cache)
{
	for (size_t i = 0; i < cache->count; i++)
		module_info_deinit(&cache->modules[i]);
	free(cache->modules);
	*cache = (struct module_cache){ NULL, 0, 0 };
}

static bool offset_of(const struct types *types, uint32_t type, const char *path, uint64_t *ret)
{
	struct type_location location;
	struct gs_error *err = types_resolve_path(types, type, path, &location);

	if (err) {
		gs_error_destroy(err);
		return false;
	}
	*ret = location.bit_offset / 8;
	return true;
}

static void add_region(const struct types *types, uint32_t type, const char *base, const char *size,
		       struct module_layout *layout)
{
	size_t i = layout->region_count;

	if (i < MAX_REGIONS && offset_of(types, type, base, &layout->regions[i].base) &&
	    offset_of(types, type, size, &layout->regions[i].size))
		layout->region_count++;
}

static void find_regions(const struct types *types, uint32_t type, struct module_layout *layout)
{
	struct type_member mem;
	uint32_t element, count;

	// Since Linux kernel commit ac3b43283923 ("module: replace module_layout with
	// module_memory") (in v6.4), a module has an array of regions; MOD_TEXT is the first.
	if (types_find_member(types, type, "mem", &mem) &&
	    types_array(types, mem.type_id, &element, &count)) {
		for (uint32_t i = 0; i < count && i < MAX_REGIONS; i++) {
			char base[32], size[32];

			snprintf(base, sizeof(base), "mem[%u].base", i);
			snprintf(size, sizeof(size), "mem[%u].size", i);
			add_region(types, type, base, size, layout);
		}
		return;
	}
	// Since commit 7523e4dc5057 ("module: use a structure to encapsulate layout.") (in v4.5),
	// core and init parts.
	add_region(types, type, "core_layout.base", "core_layout.size", layout);
	add_region(types, type, "init_layout.base", "init_layout.size", layout);
	layout->has_text_size = offset_of(types, type, "core_layout.text_size", &layout->text_size);
}

static struct gs_error *init_layout(const struct types *types, struct module_layout *layout)
{
	uint32_t type = types_find_one(types, "module", BTF_KIND_MASK(BTF_KIND_STRUCT));
	uint32_t kallsyms = types_find_one(types, "mod_kallsyms", BTF_KIND_MASK(BTF_KIND_STRUCT));
	uint32_t states = types_find_one(types, "module_state", 0);
	struct type_member name;

	memset(layout, 0, sizeof(*layout));
	layout->unformed = -1;
	if (!type || !offset_of(types, type, "list.next", &layout->list) ||
	    !types_find_member(types, type, "name", &name) ||
	    !offset_of(types, type, "state", &layout->state))
		return gs_error_create(GS_ERROR_KERNEL,
				       "the kernel's types have no usable struct module: built "
				       "without CONFIG_MODULES?");
	layout->name = name.bit_offset / 8;
	layout->name_size = name.bit_size / 8;
	types_find_enumerator(types, states, "MODULE_STATE_UNFORMED", &layout->unformed, NULL);
	find_regions(types, type, layout);
	layout->has_kallsyms = kallsyms && offset_of(types, type, "kallsyms", &layout->kallsyms) &&
			       offset_of(types, kallsyms, "symtab", &layout->symtab) &&
			       offset_of(types, kallsyms, "num_symtab", &layout->num_symtab) &&
			       offset_of(types, kallsyms, "strtab", &layout->strtab);
	return NULL;
}

static struct gs_error *read_module(const struct gs_kernel *kernel,
				    const struct module_layout *layout, uint64_t address,
				    struct module_info *info)
{
	const struct memory *memory = &kernel->memory;
	struct gs_module *module = &info->module;
	size_t name_size =
		layout->name_size < sizeof(module->name) ? layout->name_size : sizeof(module->name);
	struct gs_error *err =
		memory_read_string(memory, address + layout->name, module->name, name_size);

	if (err)
		return err;
	for (char *c = module->name; *c; c++)
		if (!isgraph((unsigned char)*c))
			*c = '?';
	module->address = address;

	for (size_t i = 0; i < layout->region_count; i++) {
		uint64_t base;
		uint32_t size;

		err = memory_read_u64(memory, address + layout->regions[i].base, &base);
		if (!err)
			err = memory_read_u32(memory, address + layout->regions[i].size, &size);
		if (err)
			return err;
		info->regions[i].base = base;
		info->regions[i].size = size;
	}
	info->region_count = layout->region_count;
	module->text = info->regions[0].base;
	module->text_size = info->regions[0].size;
	if (layout->has_text_size) {
		uint32_t size;

		err = memory_read_u32(memory, address + layout->text_size, &size);
		if (err)
			return err;
		module->text_size = size;
	}
	if (layout->has_kallsyms)
		return memory_read_u64(memory, address + layout->kallsyms, &info->kallsyms);
	return NULL;
}

static bool seen_before(const struct module_cache *cache, uint64_t address)
{
	for (size_t i = 0; i < cache->count; i++)
		if (cache->modules[i].module.address == address)
			return true;
	return false;
}

// Walk the list; what was found is in @ret also if the list is damaged.
static struct gs_error *read_list(struct gs_kernel *kernel, const struct module_layout *layout,
				  struct module_cache *ret)
{
	const struct memory *memory = &kernel->memory;
	uint64_t head = kernel->modules_head;
	uint64_t at = head;
	size_t capacity = 0;

	for (int i = 0; i < MAX_MODULES; i++) {
		// list_head.next is the first member of the list head.
		struct gs_error *err = memory_read_u64(memory, at, &at);

		if (!err && at == head)
			return NULL;

		uint64_t address = at - layout->list;
		uint32_t state;

		if (!err && seen_before(ret, address))
			return gs_error_address(
				GS_ERROR_INCOMPLETE, at,
				"the list of modules runs in a circle at 0x%" PRIx64, at);
		if (!err)
			err = memory_read_u32(memory, address + layout->state, &state);

		struct module_info info = { 0 };

		if (!err && (int64_t)state != layout->unformed)
			err = read_module(kernel, layout, address, &info);
		if (err) {
			err = gs_error_prefix(err, "the list of modules breaks off after %zu",
					      ret->count);
			if (err != &gs_enomem)
				err->code = GS_ERROR_INCOMPLETE;
			return err;
		}
		if ((int64_t)state == layout->unformed)
			continue;
		if (!gs_array_push(ret->modules, ret->count, capacity, info))
			return &gs_enomem;
	}
	return gs_error_address(GS_ERROR_INCOMPLETE, head, "the list of modules does not end");
}

static struct gs_error *load_list(struct gs_kernel *kernel, struct module_layout *layout,
				  struct module_cache *ret)
{
	struct types *types;
	struct gs_error *err = gs_kernel_types(kernel, &types);

	if (err)
		return err;
	err = init_layout(types, layout);
	if (err)
		return err;
	if (!kernel->modules_head)
		return gs_error_create(GS_ERROR_KERNEL,
				       "no symbol modules: built without CONFIG_MODULES?");
	return read_list(kernel, layout, ret);
}

struct gs_error *gs_kernel_modules(struct gs_kernel *kernel, struct gs_module **ret,
				   size_t *count_ret)
{
	_cleanup_(module_cache_deinit) struct module_cache cache = { NULL, 0, 0 };
	struct module_layout layout;
	struct gs_error *err = load_list(kernel, &layout, &cache);

	*ret = NULL;
	*count_ret = 0;
	if (err && err->code != GS_ERROR_INCOMPLETE)
		return err;

	struct gs_module *modules = calloc(cache.count + 1, sizeof(*modules));

	if (!modules) {
		gs_error_destroy(err);
		return &gs_enomem;
	}
	for (size_t i = 0; i < cache.count; i++)
		modules[i] = cache.modules[i].module;
	*ret = modules;
	*count_ret = cache.count;
	return err;
}

static struct gs_error *read_symbols(struct gs_kernel *kernel, const struct module_layout *layout,
				     struct module_info *info)
{
	struct module_cache *cache = &kernel->modules;
	const struct memory *memory = &kernel->memory;
	uint64_t symtab, strtab;
	uint32_t count;
	struct gs_error *err = memory_read_u64(memory, info->kallsyms + layout->symtab, &symtab);

	if (!err)
		err = memory_read_u32(memory, info->kallsyms + layout->num_symtab, &count);
	if (!err)
		err = memory_read_u64(memory, info->kallsyms + layout->strtab, &strtab);
	if (err)
		return err;
	if (count > MAX_SYMBOLS ||
	    count * sizeof(Elf64_Sym) > MAX_SYMBOL_BYTES - cache->symbol_bytes)
		return gs_error_address(GS_ERROR_INCOMPLETE, info->kallsyms,
					"module %s has absurdly many symbols: %u",
					info->module.name, count);

	info->symbols = calloc(count + 1, sizeof(*info->symbols));
	if (!info->symbols)
		return &gs_enomem;
	cache->symbol_bytes += count * sizeof(*info->symbols);
	info->symbol_count =
		memory_read_some(memory, symtab, info->symbols, count * sizeof(*info->symbols)) /
		sizeof(*info->symbols);

	size_t size = 0;

	for (size_t i = 0; i < info->symbol_count; i++)
		if (info->symbols[i].st_name < MAX_STRINGS && info->symbols[i].st_name > size)
			size = info->symbols[i].st_name;
	size += KALLSYMS_NAME_LEN;
	if (size > MAX_SYMBOL_BYTES - cache->symbol_bytes)
		return gs_error_address(GS_ERROR_INCOMPLETE, info->kallsyms,
					"module %s has absurdly long names", info->module.name);
	cache->symbol_bytes += size;
	info->strings = malloc(size + 1);
	if (!info->strings)
		return &gs_enomem;
	info->strings_size = memory_read_some(memory, strtab, info->strings, size);
	info->strings[info->strings_size] = '\0';
	return NULL;
}

static void load_symbols(struct gs_kernel *kernel, const struct module_layout *layout,
			 struct module_info *info)
{
	if (info->loaded || !layout->has_kallsyms || !info->kallsyms)
		return;
	info->loaded = true;
	// A damaged module has no symbols; its neighbours do.
	gs_error_destroy(read_symbols(kernel, layout, info));
}

// NULL for symbols that the module does not define, and for those without a name.
static const char *symbol_name(const struct module_info *info, const Elf64_Sym *symbol)
{
	if (symbol->st_shndx == SHN_UNDEF || symbol->st_name >= info->strings_size)
		return NULL;

	const char *name = info->strings + symbol->st_name;

	return *name ? name : NULL;
}

// Marks of the compiler, which the kernel's is_mapping_symbol() does not take for the name of an
// address.
static bool is_mapping_symbol(const char *name)
{
	return name[0] == '$' || !strncmp(name, ".L", 2) || !strncmp(name, "L0", 2);
}

// Refreshed as a whole: modules come and go.
static struct gs_error *refresh(struct gs_kernel *kernel, struct module_layout *layout)
{
	struct module_cache cache = { NULL, 0, 0 };
	struct gs_error *err = load_list(kernel, layout, &cache);

	if (err && err->code != GS_ERROR_INCOMPLETE) {
		module_cache_deinit(&cache);
		return err;
	}
	gs_error_destroy(err);
	module_cache_deinit(&kernel->modules);
	kernel->modules = cache;
	return NULL;
}

struct gs_error *modules_for_each_symbol(struct gs_kernel *kernel,
					 bool (*fn)(void *arg, const char *module, const char *name,
						    uint64_t address),
					 void *arg)
{
	struct module_layout layout;
	struct gs_error *err = refresh(kernel, &layout);

	if (err)
		return err;
	for (size_t i = 0; i < kernel->modules.count; i++) {
		struct module_info *info = &kernel->modules.modules[i];

		load_symbols(kernel, &layout, info);
		for (size_t j = 0; j < info->symbol_count; j++) {
			const char *name = symbol_name(info, &info->symbols[j]);

			if (name && !fn(arg, info->module.name, name, info->symbols[j].st_value))
				return NULL;
		}
	}
	return NULL;
}

struct wanted_symbols {
	struct gs_symbol_query *queries;
	size_t count, left;
};

static bool match_queries(void *arg, const char *module, const char *name, uint64_t address)
{
	struct wanted_symbols *wanted = arg;

	(void)module;
	for (size_t i = 0; i < wanted->count; i++) {
		struct gs_symbol_query *query = &wanted->queries[i];

		if (query->found || strcmp(query->name, name))
			continue;
		query->address = address;
		query->found = true;
		wanted->left--;
	}
	return wanted->left > 0;
}

struct gs_error *modules_find_symbols(struct gs_kernel *kernel, struct gs_symbol_query *queries,
				      size_t count)
{
	struct wanted_symbols wanted = { queries, count, 0 };

	for (size_t i = 0; i < count; i++)
		wanted.left += !queries[i].found;
	if (!wanted.left || !kernel->modules_head || !kernel->facts.btf_size)
		return NULL;

	struct gs_error *err = modules_for_each_symbol(kernel, match_queries, &wanted);

	// Not being able to look is the same as not finding: who needs the symbol reports that it
	// is missing.
	if (err && err != &gs_enomem) {
		gs_error_destroy(err);
		err = NULL;
	}
	return err;
}

static struct module_info *module_at(struct gs_kernel *kernel, uint64_t address, uint64_t *end_ret)
{
	for (size_t i = 0; i < kernel->modules.count; i++) {
		struct module_info *info = &kernel->modules.modules[i];

		for (size_t j = 0; j < info->region_count; j++) {
			if (address - info->regions[j].base >= info->regions[j].size)
				continue;
			*end_ret = info->regions[j].base + info->regions[j].size;
			return info;
		}
	}
	return NULL;
}

// Whether the module is still where it was: another one, or the same one loaded again, may have come
// to a part of its memory since.
static bool is_current(const struct gs_kernel *kernel, const struct module_layout *layout,
		       const struct module_info *info)
{
	const struct memory *memory = &kernel->memory;
	uint64_t node = info->module.address + layout->list, next, back;
	struct module_info now = { 0 };
	struct gs_error *err = memory_read_u64(memory, node, &next);

	// list_head.prev follows next.
	if (!err)
		err = memory_read_u64(memory, next + sizeof(uint64_t), &back);
	if (!err)
		err = read_module(kernel, layout, info->module.address, &now);
	if (err) {
		gs_error_destroy(err);
		return false;
	}
	return back == node && now.kallsyms == info->kallsyms &&
	       memcmp(&now.module, &info->module, sizeof(now.module)) == 0 &&
	       memcmp(now.regions, info->regions, sizeof(now.regions)) == 0;
}

bool modules_symbol_at(struct gs_kernel *kernel, uint64_t address, char name[KALLSYMS_NAME_LEN],
		       uint64_t *start_ret, uint64_t *size_ret, const char **module_ret)
{
	struct module_layout layout;
	uint64_t end;
	struct module_info *info = module_at(kernel, address, &end);
	struct gs_error *err = NULL;
	struct types *types;

	if (info) {
		err = gs_kernel_types(kernel, &types);
		if (!err)
			err = init_layout(types, &layout);
		if (!err && !is_current(kernel, &layout, info))
			info = NULL;
	}
	if (!info && !err) {
		err = refresh(kernel, &layout);
		info = module_at(kernel, address, &end);
	}
	if (err || !info) {
		gs_error_destroy(err);
		return false;
	}
	load_symbols(kernel, &layout, info);

	// As find_kallsyms_symbol() of the kernel: the highest one that is not above; the next one
	// ends it.
	const char *best = NULL;
	uint64_t start = 0;

	for (size_t i = 0; i < info->symbol_count; i++) {
		const Elf64_Sym *symbol = &info->symbols[i];
		const char *candidate = symbol_name(info, symbol);

		if (!candidate || is_mapping_symbol(candidate))
			continue;
		if (symbol->st_value <= address && (!best || symbol->st_value > start)) {
			best = candidate;
			start = symbol->st_value;
		}
		if (symbol->st_value > address && symbol->st_value < end)
			end = symbol->st_value;
	}
	if (!best)
		return false;
	snprintf(name, KALLSYMS_NAME_LEN, "%s", best);
	for (char *c = name; *c; c++)
		if (!isgraph((unsigned char)*c))
			*c = '?';
	*start_ret = start;
	*size_ret = end - start;
	*module_ret = info->module.name;
	return true;
}
