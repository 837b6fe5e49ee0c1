// SPDX-License-Identifier: Apache-2.0
#include "symbols.h"

#include <stdlib.h>
#include <string.h>

#include "kallsyms_find.h"
#include "util/array.h"
#include "util/cleanup.h"

enum {
	// Symbols of one address that are skipped when the size of a symbol is sought.
	MAX_ALIASES = 4096,
};

// Symbols that VMCOREINFO names by the name that kallsyms has too. Not all kernels have all.
static const char *const anchor_names[] = {
	"_stext",	    "init_top_pgt", "init_uts_ns", "node_online_map", "prb",
	"printk_rb_static", "clear_seq",    "node_data",   "vmap_area_list",
};

static size_t collect_anchors(const struct vmcoreinfo *info, struct kallsyms_anchor *anchors)
{
	size_t count = 0;

	_Static_assert(ARRAY_SIZE(anchor_names) <= KALLSYMS_MAX_ANCHORS, "room for all anchors");
	for (size_t i = 0; i < ARRAY_SIZE(anchor_names); i++) {
		struct kallsyms_anchor *anchor = &anchors[count];

		// A value of 0 would equal the per-CPU symbols that are linked there.
		if (!vmcoreinfo_symbol(info, anchor_names[i], &anchor->address) || !anchor->address)
			continue;
		anchor->name = anchor_names[i];
		anchor->index = KALLSYMS_NONE;
		count++;
	}
	return count;
}

static bool named_tables(const struct vmcoreinfo *info, struct kallsyms_tables *tables)
{
	memset(tables, 0, sizeof(*tables));
	vmcoreinfo_symbol(info, "kallsyms_addresses", &tables->addresses);
	vmcoreinfo_symbol(info, "kallsyms_offsets", &tables->offsets);
	vmcoreinfo_symbol(info, "kallsyms_relative_base", &tables->relative_base);
	return vmcoreinfo_symbol(info, "kallsyms_names", &tables->names) &&
	       vmcoreinfo_symbol(info, "kallsyms_num_syms", &tables->num_syms) &&
	       vmcoreinfo_symbol(info, "kallsyms_token_table", &tables->token_table) &&
	       vmcoreinfo_symbol(info, "kallsyms_token_index", &tables->token_index) &&
	       (tables->addresses || tables->offsets);
}

struct gs_error *symbols_init_kallsyms(struct symbols *symbols, const struct memory *memory,
				       const struct vmcoreinfo *info, bool structural)
{
	struct kallsyms_anchor anchors[KALLSYMS_MAX_ANCHORS];
	size_t anchor_count = collect_anchors(info, anchors);
	struct kallsyms_tables tables;
	_cleanup_error_ struct gs_error *named_err = NULL;

	memset(symbols, 0, sizeof(*symbols));
	if (!anchor_count || strcmp(anchors[0].name, "_stext"))
		return gs_error_create(GS_ERROR_KERNEL, "VMCOREINFO has no _stext");

	if (!structural && named_tables(info, &tables)) {
		named_err =
			kallsyms_load(memory, &tables, anchors, anchor_count, &symbols->kallsyms);
		if (!named_err) {
			symbols->named = true;
			return NULL;
		}
	}

	struct gs_error *err =
		kallsyms_search(memory, anchors[0].address, anchors, anchor_count, &tables);

	if (!err)
		err = kallsyms_load(memory, &tables, anchors, anchor_count, &symbols->kallsyms);
	// What is wrong with the named tables says more than that a search found nothing either.
	if (err && named_err) {
		gs_error_destroy(err);
		return no_cleanup_ptr(named_err);
	}
	return err;
}

void symbols_deinit(struct symbols *symbols)
{
	kallsyms_deinit(&symbols->kallsyms);
	free(symbols->text);
	free(symbols->entries);
	free(symbols->places);
	memset(symbols, 0, sizeof(*symbols));
}

uint32_t symbols_count(const struct symbols *symbols)
{
	return symbols->entries ? symbols->count : symbols->kallsyms.count;
}

static uint64_t address_of(const struct symbols *symbols, uint32_t index)
{
	return symbols->entries ? symbols->entries[index].address
				: kallsyms_address(&symbols->kallsyms, index, NULL);
}

static void find_indexes(const struct symbols *symbols, const char *const *names, uint32_t *indexes,
			 size_t count)
{
	if (!symbols->entries) {
		kallsyms_find(&symbols->kallsyms, names, indexes, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		indexes[i] = KALLSYMS_NONE;
		for (uint32_t j = 0; j < symbols->count && indexes[i] == KALLSYMS_NONE; j++)
			if (!strcmp(symbols->text + symbols->entries[j].name, names[i]))
				indexes[i] = j;
	}
}

static void fill_query(const struct symbols *symbols, uint32_t index, struct gs_symbol_query *query)
{
	uint64_t address = address_of(symbols, index);
	uint32_t count = symbols_count(symbols);

	query->found = true;
	for (uint32_t next = index + 1; next < count && next - index < MAX_ALIASES; next++) {
		uint64_t next_address = address_of(symbols, next);

		if (next_address == address)
			continue;
		if (next_address > address)
			query->size = next_address - address;
		break;
	}
	query->percpu = address >= symbols->percpu_start && address < symbols->percpu_end;
	query->address = query->percpu ? address - symbols->percpu_start : address;
}

struct gs_error *symbols_find(const struct symbols *symbols, struct gs_symbol_query *queries,
			      size_t count)
{
	_cleanup_free_ const char **names = calloc(count + 1, sizeof(*names));
	_cleanup_free_ uint32_t *indexes = calloc(count + 1, sizeof(*indexes));

	if (!names || !indexes)
		return &gs_enomem;
	for (size_t i = 0; i < count; i++)
		names[i] = queries[i].name;
	find_indexes(symbols, names, indexes, count);
	for (size_t i = 0; i < count; i++) {
		queries[i] = (struct gs_symbol_query){ .name = names[i] };
		if (indexes[i] != KALLSYMS_NONE)
			fill_query(symbols, indexes[i], &queries[i]);
	}
	return NULL;
}

void symbols_for_each(const struct symbols *symbols,
		      bool (*fn)(void *arg, const char *name, char type, uint64_t address),
		      void *arg)
{
	char name[KALLSYMS_NAME_LEN];
	size_t offset = 0;

	for (uint32_t i = 0; i < symbols_count(symbols); i++) {
		const char *text = name;
		char type;

		if (symbols->entries) {
			text = symbols->text + symbols->entries[i].name;
			type = symbols->entries[i].type;
		} else {
			offset = kallsyms_expand(&symbols->kallsyms, offset, &type, name);
		}
		if (!fn(arg, text, type, address_of(symbols, i)))
			return;
	}
}

static int compare_places(const void *a, const void *b)
{
	const struct symbol_place *left = a, *right = b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	return left->order < right->order ? -1 : left->order > right->order;
}

static bool build_places(struct symbols *symbols)
{
	uint32_t count = symbols_count(symbols);
	struct symbol_place *places = malloc((count + 1) * sizeof(*places));
	char name[KALLSYMS_NAME_LEN];
	size_t offset = 0;
	bool sorted = true;

	if (!places)
		return false;
	symbols->place_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = address_of(symbols, i);
		size_t at = symbols->entries ? i : offset;
		char type;

		if (!symbols->entries)
			offset = kallsyms_expand(&symbols->kallsyms, offset, &type, name);
		if (address < symbols->image_start || address > symbols->image_end)
			continue;
		places[symbols->place_count] = (struct symbol_place){ address, at, i };
		if (symbols->place_count && address < places[symbols->place_count - 1].address)
			sorted = false;
		symbols->place_count++;
	}
	if (!sorted)
		qsort(places, symbols->place_count, sizeof(*places), compare_places);
	symbols->places = places;
	return true;
}

bool symbols_at(struct symbols *symbols, uint64_t address, char name[KALLSYMS_NAME_LEN],
		uint64_t *start_ret, uint64_t *size_ret)
{
	if (address < symbols->image_start || address >= symbols->image_end)
		return false;
	if (!symbols->places && !build_places(symbols))
		return false;

	const struct symbol_place *places = symbols->places;
	size_t low = 0, high = symbols->place_count;

	// The first symbol behind the address.
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (places[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return false;

	uint64_t end = low < symbols->place_count ? places[low].address : symbols->image_end;
	size_t first = low - 1;

	while (first && places[first - 1].address == places[first].address)
		first--;

	char type;

	if (symbols->entries) {
		strncpy(name, symbols->text + symbols->entries[places[first].name].name,
			KALLSYMS_NAME_LEN - 1);
		name[KALLSYMS_NAME_LEN - 1] = '\0';
	} else {
		kallsyms_expand(&symbols->kallsyms, places[first].name, &type, name);
	}
	*start_ret = places[first].address;
	*size_ret = end - places[first].address;
	return true;
}
