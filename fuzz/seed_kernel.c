// SPDX-License-Identifier: Apache-2.0
#include "seed.h"

#include <bpf/btf.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/unit/kernel_kallsyms.h"
#include "kernel/kernel.h"

enum {
	// Types in a seed: what kernel_btf looks at.
	MAX_TYPES = 200,
	// Symbols on both sides of each that counts.
	NEIGHBOURS = 60,
	MAX_SYMBOLS = 4 * NEIGHBOURS,
	TABLES_SIZE = 1 << 16,
	MAX_TABLES = 5,
};

// As in kernel_kallsyms.c of the targets.
#define BASE UINT64_C(0xffffffff81000000)

static void take_note(struct gs_kernel *kernel, const char *name)
{
	struct gs_kernel_facts facts;
	struct seed seed = {};
	uint8_t page[4096];

	gs_kernel_facts(kernel, &facts);
	seed_check(gs_target_read(kernel->target, facts.note_phys, page, sizeof(page)));
	seed_add(&seed, page,
		 facts.note_size + 24 < sizeof(page) ? facts.note_size + 24 : sizeof(page));
	seed_save(&seed, "kernel_vmcoreinfo", name, "note");

	// LiME version 1: magic, version, first and last address, reserved.
	struct {
		uint32_t magic, version;
		uint64_t first, last, reserved;
	} lime = { 0x4c694d45, 1, facts.note_phys, facts.note_phys + sizeof(page) - 1, 0 };

	seed_add(&seed, "", 1);
	seed_add(&seed, &lime, sizeof(lime));
	seed_add(&seed, page, sizeof(page));
	lime.first += 0x100000;
	lime.last += 0x100000;
	seed_add(&seed, &lime, sizeof(lime));
	seed_add(&seed, page, sizeof(page));
	seed_save(&seed, "target_core", name, "lime");

	seed_add(&seed, "\1", 1);
	for (int i = 0; i < 3; i++)
		seed_add(&seed, page, sizeof(page));
	seed_save(&seed, "target_core", name, "raw");
}

// The tables on the way to an address, one behind the other from the second page on. Leaves of 4K lead
// back to the first page.
static void take_path(struct gs_kernel *kernel, const char *name, const char *what,
		      uint64_t address)
{
	const struct gs_map *map = gs_kernel_map(kernel);
	uint64_t head[3] = { map->levels - 4, address, 0x1000 };
	uint64_t table = map->root_phys;
	uint64_t pages[MAX_TABLES + 1][512] = {};
	struct seed seed = {};
	uint32_t used = 0;

	for (int level = map->levels; level > 0; level--) {
		size_t index = address >> (12 + 9 * (level - 1)) & 511;
		uint64_t *entry = &pages[++used][index];

		seed_check(gs_target_read(kernel->target, table, pages[used], 4096));
		if (!(*entry & 1) || (*entry & 0x80 && level > 1))
			break;
		table = *entry & GS_PTE_ADDR;
		*entry = (*entry & ~GS_PTE_ADDR) | (level > 1 ? (used + 1) * 0x1000 : 0);
	}
	memcpy(pages[0], head, sizeof(head));
	seed_add(&seed, pages, (used + 1) * sizeof(pages[0]));
	seed_save(&seed, "kernel_pgtable", name, what);
}

void seed_memory(struct gs_kernel *kernel, const char *name)
{
	const struct gs_map *map = gs_kernel_map(kernel);
	struct gs_module *modules;
	size_t count;

	take_note(kernel, name);
	take_path(kernel, name, "image", map->image_base);
	take_path(kernel, name, "direct", map->direct_base + map->root_phys);
	take_path(kernel, name, "nothing", 0x1000);
	seed_check(gs_kernel_modules(kernel, &modules, &count));
	if (count)
		take_path(kernel, name, "module", modules[0].text);
	free(modules);
}

struct picked {
	struct made_symbol symbols[MAX_SYMBOLS];
	uint32_t count;
	// The compressed names.
	struct seed names, map;
};

// The first symbols (per CPU), and those around _stext and init_uts_ns. Their addresses are those that
// kernel_kallsyms has for the two, and between them.
static void pick(const struct kallsyms *kallsyms, struct picked *picked)
{
	static const char *const names[] = { "_stext", "init_uts_ns" };
	static const uint64_t at[] = { BASE + 0x1000, BASE + 0x3200 };
	uint32_t found[2];
	size_t offset = 0;

	kallsyms_find(kallsyms, names, found, 2);
	if (found[0] == KALLSYMS_NONE || found[1] == KALLSYMS_NONE)
		errx(1, "no _stext or no init_uts_ns");
	for (uint32_t i = 0; i < kallsyms->count && picked->count < MAX_SYMBOLS; i++) {
		char text[KALLSYMS_NAME_LEN], type;
		size_t next = kallsyms_expand(kallsyms, offset, &type, text);
		uint32_t around = i + NEIGHBOURS > found[1] ? 1 : 0;
		int64_t distance = (int64_t)i - found[around];

		if (i < NEIGHBOURS / 2 || (distance > -NEIGHBOURS && distance < NEIGHBOURS)) {
			uint64_t address = kallsyms_address(kallsyms, i, NULL);
			char line[KALLSYMS_NAME_LEN + 32];

			if (address >= KERNEL_MAP_START)
				address = at[around] + distance * 16;
			picked->symbols[picked->count++].address = address;
			seed_add(&picked->names, kallsyms->names + offset, next - offset);
			seed_add(&picked->map, line,
				 snprintf(line, sizeof(line), "%016lx %c %s\n", address, type,
					  text));
		}
		if (!next)
			break;
		offset = next;
	}
}

static void put_names(const struct kallsyms *kallsyms, const struct picked *picked,
		      struct made_table *table)
{
	const struct kallsyms_token *last = &kallsyms->tokens[KALLSYMS_TOKENS - 1];
	uint16_t index[KALLSYMS_TOKENS];

	for (int i = 0; i < KALLSYMS_TOKENS; i++)
		index[i] = kallsyms->tokens[i].text - kallsyms->token_table;
	table->tables.num_syms = made_put(table, &picked->count, sizeof(picked->count));
	table->tables.names = made_put(table, picked->names.bytes, picked->names.size);
	table->tables.token_table = made_put(table, kallsyms->token_table,
					     last->text + last->len + 1 - kallsyms->token_table);
	table->tables.token_index = made_put(table, index, sizeof(index));
}

static void take_tables(const struct kallsyms *kallsyms, const struct picked *picked,
			enum kallsyms_encoding encoding, bool addresses_first, const char *name)
{
	static uint8_t buf[TABLES_SIZE];
	struct made_table table = {
		.buf = buf, .size = 64, .capacity = sizeof(buf), .address = BASE, .align = 8
	};
	struct seed seed = {};
	char what[64];

	memset(buf, 0, sizeof(buf));
	if (addresses_first)
		made_addresses(&table, picked->symbols, picked->count, encoding, BASE);
	put_names(kallsyms, picked, &table);
	if (!addresses_first)
		made_addresses(&table, picked->symbols, picked->count, encoding, BASE);

	const struct kallsyms_tables *at = &table.tables;
	uint32_t head[8] = {
		at->names - BASE,
		at->num_syms - BASE,
		at->token_table - BASE,
		at->token_index - BASE,
		at->addresses ? at->addresses - BASE : 0,
		at->offsets ? at->offsets - BASE : 0,
		at->relative_base ? at->relative_base - BASE : 0,
	};

	memcpy(buf, head, sizeof(head));
	seed_add(&seed, buf, table.size);
	snprintf(what, sizeof(what), "%s%s", kallsyms_encoding_names[encoding],
		 addresses_first ? "-first" : "");
	seed_save(&seed, "kernel_kallsyms", name, what);
}

void seed_kallsyms(struct gs_kernel *kernel, const char *name)
{
	const struct kallsyms *kallsyms = &kernel->symbols.kallsyms;
	struct picked picked = {};

	pick(kallsyms, &picked);
	for (int encoding = 0; encoding < KALLSYMS_ENCODINGS; encoding++) {
		take_tables(kallsyms, &picked, encoding, false, name);
		take_tables(kallsyms, &picked, encoding, true, name);
	}
	seed_save(&picked.map, "kernel_system_map", name, "symbols");
	free(picked.names.bytes);
}

// Ids of the small set of types by those of the large one, and the other way round.
struct subset {
	const struct btf *from;
	struct btf *to;
	uint32_t ids[MAX_TYPES], count;
};

// 0 (void) for what is left out.
static uint32_t subset_id(struct subset *subset, uint32_t id)
{
	for (uint32_t i = 0; i < subset->count; i++) {
		if (subset->ids[i] == id)
			return i + 1;
	}
	if (!id || subset->count == MAX_TYPES)
		return 0;
	if (btf__add_type(subset->to, subset->from, btf__type_by_id(subset->from, id)) < 0)
		errx(1, "libbpf does not add a type");
	subset->ids[subset->count++] = id;
	return subset->count;
}

// The types that type number @id of the small set refers to, by their ids in the large one.
static size_t references(struct subset *subset, uint32_t id, uint32_t **refs, size_t max)
{
	struct btf_type *type = (struct btf_type *)btf__type_by_id(subset->to, id);
	size_t count = 0;

	switch (btf_kind(type)) {
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		for (; count < btf_vlen(type) && count < max; count++)
			refs[count] = &btf_members(type)[count].type;
		return count;
	case BTF_KIND_FUNC_PROTO:
		refs[count++] = &type->type;
		for (uint32_t i = 0; i < btf_vlen(type) && count < max; i++)
			refs[count++] = &btf_params(type)[i].type;
		return count;
	case BTF_KIND_ARRAY:
		refs[0] = &btf_array(type)->type;
		refs[1] = &btf_array(type)->index_type;
		return 2;
	case BTF_KIND_INT:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_FWD:
	case BTF_KIND_FLOAT:
		return 0;
	default:
		refs[0] = &type->type;
		return 1;
	}
}

static void take_types(const struct btf *btf, const char *root, const char *name)
{
	struct subset subset = { .from = btf, .to = btf__new_empty() };
	int id = btf__find_by_name_kind(btf, root, BTF_KIND_STRUCT);
	struct seed seed = {};
	const void *blob;
	uint32_t size;

	if (id < 0 || !subset.to)
		errx(1, "no struct %s", root);
	subset_id(&subset, id);
	for (uint32_t i = 1; i <= subset.count; i++) {
		uint32_t *refs[1024], ids[1024];
		size_t count = references(&subset, i, refs, 1024);

		// Adding types moves them all.
		for (size_t j = 0; j < count; j++)
			ids[j] = *refs[j];
		for (size_t j = 0; j < count; j++)
			ids[j] = subset_id(&subset, ids[j]);
		references(&subset, i, refs, 1024);
		for (size_t j = 0; j < count; j++)
			*refs[j] = ids[j];
	}
	blob = btf__raw_data(subset.to, &size);
	if (!blob)
		errx(1, "libbpf gives no types");
	seed_add(&seed, blob, size);
	seed_save(&seed, "kernel_btf", name, root);
	btf__free(subset.to);
}

void seed_types(struct gs_kernel *kernel, const char *name)
{
	static const char *const roots[] = { "list_head", "module", "task_struct",
					     "uts_namespace" };
	struct btf *btf;

	seed_check(gs_kernel_btf(kernel, &btf));
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		take_types(btf, roots[i], name);
}
