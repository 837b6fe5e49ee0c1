// SPDX-License-Identifier: Apache-2.0
#include "kallsyms_find.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgtable.h"
#include "util/cleanup.h"

enum {
	FIRST_DIGIT = '0',
	// Smallest count that is taken for a symbol table.
	MIN_SYMBOLS = 256,
	// Names looked at before a candidate is worth a full check.
	PROBE_NAMES = 64,
	// Tables have been aligned to 8 bytes, and to 4 in v7.
	TABLE_ALIGN = 4,
	MAX_RANGES = 64,
	MAX_TOKEN_TRIES = 1 << 16,
	MAX_INDEX_SCANS = 4,
	// Regular offsets fit at several places: only relative_base tells which one it is.
	MAX_BASE_SCANS = 16,
};

// A kernel image has some tens of MiB; what is larger is searched as far as this.
#define MAX_IMAGE (UINT64_C(256) << 20)

// Names that may be looked at, and bytes of names that may be hashed, in all: a hostile image can
// be full of almost-tables.
#define MAX_STEPS (UINT64_C(1) << 27)

struct search {
	const uint8_t *buf;
	size_t size;
	uint64_t address;
	struct kallsyms_anchor *anchors;
	size_t anchor_count;
	// The symbols as far as they are known; tokens are owned, names point into buf.
	struct kallsyms kallsyms;
	size_t token_table, token_index, num_syms, names;
	// Of MAX_STEPS, shared by all ranges that are searched.
	uint64_t *steps;
	// Scans of the whole buffer for a relative_base that may still be done.
	int base_scans;
};

static uint32_t u32_at(const struct search *search, size_t offset)
{
	uint32_t value;

	memcpy(&value, search->buf + offset, sizeof(value));
	return value;
}

static uint64_t u64_at(const struct search *search, size_t offset)
{
	uint64_t value;

	memcpy(&value, search->buf + offset, sizeof(value));
	return value;
}

static uint16_t u16_at(const struct search *search, size_t offset)
{
	uint16_t value;

	memcpy(&value, search->buf + offset, sizeof(value));
	return value;
}

// Where the tokens '0' to 255 and the byte behind them begin, if the token '0' is at @first.
static bool token_ends(const struct search *search, size_t first,
		       size_t starts[KALLSYMS_TOKENS + 1])
{
	size_t at = first;

	for (int token = FIRST_DIGIT; token < KALLSYMS_TOKENS; token++) {
		size_t left = search->size - at;
		const uint8_t *nul = memchr(search->buf + at, '\0',
					    left < KALLSYMS_NAME_LEN ? left : KALLSYMS_NAME_LEN);

		if (!nul)
			return false;
		starts[token] = at;
		at = nul - search->buf + 1;
	}
	starts[KALLSYMS_TOKENS] = at;
	return true;
}

// Does an index table lie at @offset that fits the tokens? Gives the start of the token table.
static bool index_fits(const struct search *search, size_t offset,
		       const size_t starts[KALLSYMS_TOKENS + 1], size_t *table_ret)
{
	if (offset + KALLSYMS_TOKENS * sizeof(uint16_t) > search->size ||
	    u16_at(search, offset) != 0)
		return false;

	size_t digit = u16_at(search, offset + FIRST_DIGIT * sizeof(uint16_t));

	if (digit > starts[FIRST_DIGIT])
		return false;

	size_t table = starts[FIRST_DIGIT] - digit;
	size_t previous = 0;

	for (int token = 1; token < KALLSYMS_TOKENS; token++) {
		size_t entry = u16_at(search, offset + token * sizeof(uint16_t));

		if (entry <= previous || table + entry >= search->size ||
		    search->buf[table + entry - 1] != '\0')
			return false;
		if (token >= FIRST_DIGIT && table + entry != starts[token])
			return false;
		previous = entry;
	}
	*table_ret = table;
	return true;
}

static bool accept_tokens(struct search *search, size_t table, size_t index, size_t end)
{
	uint16_t entries[KALLSYMS_TOKENS];
	char *copy = malloc(end - table);

	if (!copy)
		return false;
	memcpy(copy, search->buf + table, end - table);
	memcpy(entries, search->buf + index, sizeof(entries));

	struct gs_error *err = kallsyms_set_tokens(&search->kallsyms, copy, end - table, entries);

	if (err) {
		gs_error_destroy(err);
		return false;
	}
	search->token_table = table;
	search->token_index = index;
	return true;
}

// The index follows the tokens in every version so far; @anywhere: look for it in the whole buffer.
static bool find_index(const struct search *search, const size_t starts[KALLSYMS_TOKENS + 1],
		       bool anywhere, size_t *table_ret, size_t *index_ret)
{
	size_t first = anywhere ? 0 : starts[KALLSYMS_TOKENS];
	size_t last = anywhere ? search->size : first + sizeof(uint64_t);

	for (*index_ret = first; *index_ret < last; *index_ret += anywhere ? sizeof(uint16_t) : 1)
		if (index_fits(search, *index_ret, starts, table_ret))
			return true;
	return false;
}

// Every digit occurs in symbol names, so each has a token of its own, in the order of ASCII.
static bool find_tokens(struct search *search, bool anywhere)
{
	static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
	size_t starts[KALLSYMS_TOKENS + 1];
	size_t table, index;
	const uint8_t *at = search->buf;
	const uint8_t *end = search->buf + search->size;
	int scans = anywhere ? MAX_INDEX_SCANS : MAX_TOKEN_TRIES;

	for (int tries = 0; tries < MAX_TOKEN_TRIES && scans > 0; tries++) {
		at = memmem(at, end - at, digits, sizeof(digits));
		if (!at)
			return false;
		if (token_ends(search, at - search->buf, starts)) {
			scans--;
			if (find_index(search, starts, anywhere, &table, &index))
				return accept_tokens(search, table, index, starts[KALLSYMS_TOKENS]);
		}
		at++;
	}
	return false;
}

// Do @count names begin at @offset?
static bool names_fit(struct search *search, size_t offset, uint32_t count)
{
	struct kallsyms *kallsyms = &search->kallsyms;

	if (offset >= search->size)
		return false;

	const uint8_t *names = search->buf + offset;
	size_t left = search->size - offset;

	// Two bytes a name at least; and a probe keeps the common case cheap.
	if (count > left / 2)
		return false;

	uint32_t valid;

	kallsyms_names_size(kallsyms, names, left, PROBE_NAMES, &valid);
	if (valid == PROBE_NAMES)
		kallsyms->names_size = kallsyms_names_size(kallsyms, names, left, count, &valid);
	*search->steps += valid + 1;
	if (valid != count)
		return false;
	kallsyms->names = (uint8_t *)names;
	kallsyms->count = count;

	const char *anchor_names[KALLSYMS_MAX_ANCHORS];
	uint32_t indexes[KALLSYMS_MAX_ANCHORS];

	for (size_t i = 0; i < search->anchor_count; i++)
		anchor_names[i] = search->anchors[i].name;
	*search->steps += kallsyms->names_size;
	kallsyms_find(kallsyms, anchor_names, indexes, search->anchor_count);
	for (size_t i = 0; i < search->anchor_count; i++)
		search->anchors[i].index = indexes[i];
	return indexes[0] != KALLSYMS_NONE;
}

static bool names_at(struct search *search, size_t offset, size_t header)
{
	uint32_t count = u32_at(search, offset);

	if (count < MIN_SYMBOLS || count > KALLSYMS_MAX || *search->steps > MAX_STEPS)
		return false;
	search->num_syms = offset;
	search->names = offset + header;
	return names_fit(search, search->names, count);
}

static uint64_t decoded(const struct search *search, enum kallsyms_encoding encoding, size_t table,
			uint32_t index, uint64_t relative_base)
{
	size_t entry = table + (size_t)index * (encoding == KALLSYMS_ABSOLUTE ? 8 : 4);

	return kallsyms_decode(encoding, search->buf + entry, search->address + entry,
			       relative_base);
}

// Do the anchors come out right? One alone does by chance: a place-relative alias of _stext does so
// at the table that begins one entry early.
static bool anchors_agree(const struct search *search, enum kallsyms_encoding encoding,
			  size_t table, uint64_t relative_base)
{
	size_t known = 0, matched = 0;

	for (size_t i = 0; i < search->anchor_count; i++) {
		const struct kallsyms_anchor *anchor = &search->anchors[i];

		if (anchor->index == KALLSYMS_NONE)
			continue;
		known++;
		matched += decoded(search, encoding, table, anchor->index, relative_base) ==
			   anchor->address;
	}
	return matched > 0 && matched * 4 >= known * 3;
}

// relative_base lies behind the offsets in every version that has one; else anywhere.
static bool find_base(struct search *search, size_t offsets_end, uint64_t base, size_t *ret)
{
	size_t near = (offsets_end + 7) & ~(size_t)7;

	if (near + sizeof(base) <= search->size && u64_at(search, near) == base) {
		*ret = near;
		return true;
	}
	if (search->base_scans <= 0)
		return false;
	search->base_scans--;
	for (size_t at = 0; at + sizeof(base) <= search->size; at += sizeof(base)) {
		if (u64_at(search, at) == base) {
			*ret = at;
			return true;
		}
	}
	return false;
}

static bool relative_at(struct search *search, size_t table, uint32_t index, uint64_t stext,
			struct kallsyms_tables *ret)
{
	size_t end = table + (size_t)search->kallsyms.count * sizeof(uint32_t);
	uint32_t offset = u32_at(search, table + (size_t)index * sizeof(uint32_t));
	// What relative_base has to be for _stext to come out.
	uint64_t plain = stext - offset;
	uint64_t percpu = stext + 1 + (uint64_t)(int64_t)(int32_t)offset;
	size_t base;

	bool found = anchors_agree(search, KALLSYMS_RELATIVE, table, plain) &&
		     find_base(search, end, plain, &base);

	if (!found)
		found = (int32_t)offset < 0 &&
			anchors_agree(search, KALLSYMS_ABSOLUTE_PERCPU, table, percpu) &&
			find_base(search, end, percpu, &base);
	if (!found)
		return false;
	ret->offsets = search->address + table;
	ret->relative_base = search->address + base;
	return true;
}

// A second anchor far enough from _stext makes the check of relative tables cheap and strict.
static const struct kallsyms_anchor *second_anchor(const struct search *search)
{
	for (size_t i = 1; i < search->anchor_count; i++)
		if (search->anchors[i].index != KALLSYMS_NONE &&
		    search->anchors[i].address != search->anchors[0].address)
			return &search->anchors[i];
	return NULL;
}

static bool addresses_at(struct search *search, size_t table, const struct kallsyms_anchor *second,
			 struct kallsyms_tables *ret)
{
	const struct kallsyms_anchor *first = &search->anchors[0];
	size_t count = search->kallsyms.count;

	if (table + count * sizeof(uint32_t) > search->size)
		return false;
	if (decoded(search, KALLSYMS_PLACE_RELATIVE, table, first->index, 0) == first->address &&
	    anchors_agree(search, KALLSYMS_PLACE_RELATIVE, table, 0)) {
		ret->offsets = search->address + table;
		return true;
	}
	if (second) {
		uint32_t distance = (uint32_t)(second->address - first->address);
		uint32_t a = u32_at(search, table + (size_t)first->index * sizeof(uint32_t));
		uint32_t b = u32_at(search, table + (size_t)second->index * sizeof(uint32_t));

		if ((b - a == distance || a - b == distance) &&
		    relative_at(search, table, first->index, first->address, ret))
			return true;
	}
	if (table + count * sizeof(uint64_t) <= search->size &&
	    decoded(search, KALLSYMS_ABSOLUTE, table, first->index, 0) == first->address &&
	    anchors_agree(search, KALLSYMS_ABSOLUTE, table, 0)) {
		ret->addresses = search->address + table;
		return true;
	}
	return false;
}

// The tables come from one file (kallsyms.S), hence lie close together: look outwards from @from.
static bool outwards(struct search *search, size_t from,
		     bool (*at)(struct search *search, size_t offset, void *arg), void *arg)
{
	size_t last = search->size - sizeof(uint64_t);

	from &= ~(size_t)(TABLE_ALIGN - 1);
	for (size_t distance = 0; distance <= from || from + distance <= last;
	     distance += TABLE_ALIGN) {
		if (distance <= from && from - distance <= last && at(search, from - distance, arg))
			return true;
		if (from + distance <= last && at(search, from + distance, arg))
			return true;
	}
	return false;
}

// num_syms, four bytes of padding, names: rare enough in other data to be tried first.
static bool try_padded_names(struct search *search, size_t offset, void *arg)
{
	(void)arg;
	return offset % sizeof(uint64_t) == 0 && u32_at(search, offset + sizeof(uint32_t)) == 0 &&
	       names_at(search, offset, sizeof(uint64_t));
}

// The same aligned to 4 bytes only: compressed names themselves are full of candidates.
static bool try_names(struct search *search, size_t offset, void *arg)
{
	(void)arg;
	return names_at(search, offset, sizeof(uint32_t));
}

struct try_addresses {
	const struct kallsyms_anchor *second;
	struct kallsyms_tables *ret;
};

static bool try_addresses(struct search *search, size_t offset, void *arg)
{
	struct try_addresses *try = arg;

	return addresses_at(search, offset, try->second, try->ret);
}

static bool search_buffer(struct search *search, struct kallsyms_tables *ret)
{
	if (search->size < 2 * sizeof(uint64_t) ||
	    (!find_tokens(search, false) && !find_tokens(search, true)))
		return false;
	if (!outwards(search, search->token_table, try_padded_names, NULL) &&
	    !outwards(search, search->token_table, try_names, NULL))
		return false;

	*ret = (struct kallsyms_tables){
		.names = search->address + search->names,
		.num_syms = search->address + search->num_syms,
		.token_table = search->address + search->token_table,
		.token_index = search->address + search->token_index,
	};

	struct try_addresses try = { second_anchor(search), ret };

	return outwards(search, search->names, try_addresses, &try);
}

static bool search_with_budget(const uint8_t *buf, size_t size, uint64_t address,
			       struct kallsyms_anchor *anchors, size_t anchor_count,
			       uint64_t *steps, struct kallsyms_tables *ret)
{
	if (!anchor_count || anchor_count > KALLSYMS_MAX_ANCHORS)
		return false;

	struct search search = {
		.buf = buf,
		.size = size,
		.address = address,
		.anchors = anchors,
		.anchor_count = anchor_count,
		.steps = steps,
		.base_scans = MAX_BASE_SCANS,
	};
	bool found = search_buffer(&search, ret);

	// The names belong to the buffer.
	search.kallsyms.names = NULL;
	kallsyms_deinit(&search.kallsyms);
	return found;
}

bool kallsyms_search_buffer(const uint8_t *buf, size_t size, uint64_t address,
			    struct kallsyms_anchor *anchors, size_t anchor_count,
			    struct kallsyms_tables *ret)
{
	uint64_t steps = 0;

	return search_with_budget(buf, size, address, anchors, anchor_count, &steps, ret);
}

struct ranges {
	struct pgtable_range range[MAX_RANGES];
	size_t count;
};

static bool add_range(void *arg, const struct pgtable_range *range)
{
	struct ranges *ranges = arg;

	ranges->range[ranges->count++] = *range;
	return ranges->count < MAX_RANGES;
}

// @left: bytes that may still be searched.
static bool search_range(const struct memory *memory, uint64_t address, uint64_t size,
			 uint64_t *left, uint64_t *steps, struct kallsyms_anchor *anchors,
			 size_t anchor_count, struct kallsyms_tables *ret)
{
	if (size > *left)
		size = *left;
	*left -= size;

	// calloc: what cannot be read stays zero, and untouched.
	_cleanup_free_ uint8_t *buf = calloc(1, size);

	if (!buf)
		return false;
	for (uint64_t done = 0; done < size;) {
		size_t got = memory_read_some(memory, address + done, buf + done, size - done);

		done = (done + got + GS_PAGE_SIZE) & ~(GS_PAGE_SIZE - 1);
	}
	return search_with_budget(buf, size, address, anchors, anchor_count, steps, ret);
}

struct gs_error *kallsyms_search(const struct memory *memory, uint64_t stext,
				 struct kallsyms_anchor *anchors, size_t anchor_count,
				 struct kallsyms_tables *ret)
{
	struct pgtable pgtable = memory_pgtable(memory);
	_cleanup_free_ struct ranges *ranges = calloc(1, sizeof(*ranges));

	if (!ranges)
		return &gs_enomem;

	struct gs_error *err = pgtable_for_each(
		&pgtable, stext, KERNEL_MAP_START + KERNEL_IMAGE_MAX - 1, add_range, ranges);

	if (err)
		return gs_error_prefix(err, "the kernel image cannot be searched for symbols");

	uint64_t left = MAX_IMAGE, steps = 0;

	// The tables are constants, so one read-only range holds them all...
	for (size_t i = 0; i < ranges->count; i++) {
		const struct pgtable_range *range = &ranges->range[i];

		if (!(range->flags & PTE_RW) && (range->flags & PTE_NX) &&
		    search_range(memory, range->start, range->size, &left, &steps, anchors,
				 anchor_count, ret))
			return NULL;
	}
	// ...but not before the boot has come to mark_rodata_ro().
	if (ranges->count) {
		const struct pgtable_range *last = &ranges->range[ranges->count - 1];
		uint64_t start = ranges->range[0].start;

		left = MAX_IMAGE;
		if (search_range(memory, start, last->start + last->size - start, &left, &steps,
				 anchors, anchor_count, ret))
			return NULL;
	}
	return gs_error_create(
		GS_ERROR_KERNEL,
		"the kernel image has no kallsyms tables: built without CONFIG_KALLSYMS? Give its System.map");
}
