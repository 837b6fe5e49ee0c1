// SPDX-License-Identifier: Apache-2.0
#include "kallsyms.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"

const char *const kallsyms_encoding_names[KALLSYMS_ENCODINGS] = {
	[KALLSYMS_ABSOLUTE] = "absolute",
	[KALLSYMS_RELATIVE] = "relative",
	[KALLSYMS_ABSOLUTE_PERCPU] = "absolute-percpu",
	[KALLSYMS_PLACE_RELATIVE] = "place-relative",
};

enum {
	NAMES_CHUNK = 1 << 18,
	// Real ones take 1 to 3 MiB.
	NAMES_MAX = 1 << 26,
	// 256 tokens; real ones have 2 to 20 characters.
	TOKEN_TABLE_MAX = 1 << 16,
};

// Names are compared by a polynomial hash, which can be computed token by token: hash(ab) =
// hash(a) * M^len(b) + hash(b). So a pass costs one multiplication for each compressed byte instead
// of expanding 100,000 names.
#define HASH_MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static uint64_t hash_text(const char *text, size_t len, uint64_t *power_ret)
{
	uint64_t hash = 0, power = 1;

	for (size_t i = 0; i < len; i++) {
		hash = hash * HASH_MULTIPLIER + (uint8_t)text[i] + 1;
		power *= HASH_MULTIPLIER;
	}
	*power_ret = power;
	return hash;
}

static bool is_type(char c)
{
	// nm(1): letters, '?' and '-' for symbols that it knows nothing about.
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '?' || c == '-';
}

struct gs_error *kallsyms_set_tokens(struct kallsyms *kallsyms, char *table, size_t size,
				     const uint16_t index[KALLSYMS_TOKENS])
{
	free(kallsyms->token_table);
	kallsyms->token_table = table;
	for (int i = 0; i < KALLSYMS_TOKENS; i++) {
		struct kallsyms_token *token = &kallsyms->tokens[i];
		size_t offset = index[i];

		if (offset >= size || !memchr(table + offset, '\0', size - offset))
			return gs_error_create(
				GS_ERROR_KERNEL,
				"kallsyms_token_table is damaged: token %d at offset %zu", i,
				offset);

		token->text = table + offset;
		token->len = strlen(token->text);
		token->hash = hash_text(token->text, token->len, &token->power);

		kallsyms->starts[i] = is_type(token->text[0]);

		size_t tail = token->len > 0;

		token->tail_hash =
			hash_text(token->text + tail, token->len - tail, &token->tail_power);
	}
	return NULL;
}

// Length of the name at @at in compressed bytes; @header_ret: bytes that the length itself takes.
// 0: invalid.
static inline size_t name_len(const uint8_t *at, const uint8_t *end, size_t *header_ret)
{
	if (at == end)
		return 0;

	size_t len = *at;

	*header_ret = 1;
	// Since Linux kernel commit 73bbb94466fd ("kallsyms: support "big" kernel symbols") (in
	// v6.1), a length with the top bit takes a second byte. Before that, names were too short
	// to set the bit.
	if (len & 0x80) {
		if (end - at < 2)
			return 0;
		len = (len & 0x7f) | (size_t)at[1] << 7;
		*header_ret = 2;
	}
	if (len > (size_t)(end - at) - *header_ret)
		return 0;
	return len;
}

size_t kallsyms_names_size(const struct kallsyms *kallsyms, const uint8_t *names, size_t size,
			   uint32_t count, uint32_t *valid_ret)
{
	const uint8_t *at = names;
	const uint8_t *end = names + size;
	uint32_t valid;

	for (valid = 0; valid < count; valid++) {
		size_t header;
		size_t len = name_len(at, end, &header);

		if (!len || !kallsyms->starts[at[header]])
			break;
		at += header + len;
	}
	*valid_ret = valid;
	return valid == count ? at - names : 0;
}

// The names have no end mark: read on until all are there.
static struct gs_error *load_names(const struct memory *memory, uint64_t address,
				   struct kallsyms *kallsyms)
{
	size_t valid = 0;
	uint32_t done = 0;

	for (;;) {
		size_t want = kallsyms->names_size + NAMES_CHUNK;

		if (want > NAMES_MAX)
			return gs_error_address(GS_ERROR_KERNEL, address,
						"kallsyms_names at 0x%" PRIx64 " does not end",
						address);

		uint8_t *grown = realloc(kallsyms->names, want);

		if (!grown)
			return &gs_enomem;
		kallsyms->names = grown;

		size_t got = memory_read_some(memory, address + kallsyms->names_size,
					      grown + kallsyms->names_size, NAMES_CHUNK);
		const uint8_t *end = grown + kallsyms->names_size + got;
		const uint8_t *at = grown + valid;

		for (; done < kallsyms->count; done++) {
			size_t header;
			size_t len = name_len(at, end, &header);

			// Either the end of what was read, or a zero length.
			if (!len)
				break;
			at += header + len;
		}
		valid = at - grown;
		kallsyms->names_size += got;
		if (done == kallsyms->count)
			break;
		if (got < NAMES_CHUNK || (at < end && *at == 0))
			return gs_error_address(
				GS_ERROR_KERNEL, address + valid,
				"kallsyms_names is damaged: symbol %u of %u at 0x%" PRIx64, done,
				kallsyms->count, address + valid);
	}
	if (kallsyms_names_size(kallsyms, kallsyms->names, valid, kallsyms->count, &done) != valid)
		return gs_error_address(GS_ERROR_KERNEL, address,
					"kallsyms_names at 0x%" PRIx64
					" is damaged: a symbol without a type",
					address);
	kallsyms->names_size = valid;
	return NULL;
}

static struct gs_error *load_tokens(const struct memory *memory,
				    const struct kallsyms_tables *tables, struct kallsyms *kallsyms)
{
	uint16_t index[KALLSYMS_TOKENS];
	struct gs_error *err = memory_read(memory, tables->token_index, index, sizeof(index));

	if (err)
		return gs_error_prefix(err, "kallsyms_token_index");

	char *table = malloc(TOKEN_TABLE_MAX);

	if (!table)
		return &gs_enomem;

	// The last token ends somewhere behind its beginning; no token reaches the length of a
	// name.
	size_t size = 0;

	for (int i = 0; i < KALLSYMS_TOKENS; i++)
		if (index[i] > size)
			size = index[i];
	size += KALLSYMS_NAME_LEN;
	if (size > TOKEN_TABLE_MAX)
		size = TOKEN_TABLE_MAX;
	size = memory_read_some(memory, tables->token_table, table, size);
	return kallsyms_set_tokens(kallsyms, table, size, index);
}

uint64_t kallsyms_decode(enum kallsyms_encoding encoding, const void *entry, uint64_t entry_address,
			 uint64_t relative_base)
{
	uint64_t address;
	int32_t offset;

	if (encoding == KALLSYMS_ABSOLUTE) {
		memcpy(&address, entry, sizeof(address));
		return address;
	}

	memcpy(&offset, entry, sizeof(offset));
	switch (encoding) {
	case KALLSYMS_RELATIVE:
		return relative_base + (uint32_t)offset;
	case KALLSYMS_ABSOLUTE_PERCPU:
		return offset >= 0 ? (uint64_t)offset
				   : relative_base - 1 - (uint64_t)(int64_t)offset;
	default:
		return entry_address + (uint64_t)(int64_t)offset;
	}
}

static size_t entry_size(enum kallsyms_encoding encoding)
{
	return encoding == KALLSYMS_ABSOLUTE ? sizeof(uint64_t) : sizeof(uint32_t);
}

uint64_t kallsyms_address(const struct kallsyms *kallsyms, uint32_t index, bool *absolute_ret)
{
	size_t offset = index * entry_size(kallsyms->encoding);
	uint64_t address =
		kallsyms_decode(kallsyms->encoding, (const uint8_t *)kallsyms->entries + offset,
				kallsyms->entries_address + offset, kallsyms->relative_base);

	if (absolute_ret)
		*absolute_ret = (int64_t)address >= 0;
	return address;
}

static size_t matches(const struct kallsyms *kallsyms, const struct kallsyms_anchor *anchors,
		      size_t count)
{
	size_t matched = 0;

	for (size_t i = 0; i < count; i++) {
		bool same =
			anchors[i].index != KALLSYMS_NONE &&
			kallsyms_address(kallsyms, anchors[i].index, NULL) == anchors[i].address;

		// _stext decides: without it no other agreement counts.
		if (i == 0 && !same)
			return 0;
		matched += same;
	}
	return matched;
}

static struct gs_error *load_addresses(const struct memory *memory,
				       const struct kallsyms_tables *tables,
				       const struct kallsyms_anchor *anchors, size_t anchor_count,
				       struct kallsyms *kallsyms)
{
	uint64_t table = tables->addresses ? tables->addresses : tables->offsets;
	size_t size = tables->addresses ? sizeof(uint64_t) : sizeof(uint32_t);
	size_t best = 0;
	enum kallsyms_encoding best_encoding = KALLSYMS_ABSOLUTE;

	if (!table)
		return gs_error_create(
			GS_ERROR_KERNEL,
			"the kernel names neither kallsyms_offsets nor kallsyms_addresses");
	kallsyms->entries = malloc(kallsyms->count * size);
	if (!kallsyms->entries)
		return &gs_enomem;
	kallsyms->entries_address = table;

	struct gs_error *err =
		memory_read(memory, table, kallsyms->entries, kallsyms->count * size);

	if (err)
		return gs_error_prefix(err, "the kernel's table of symbol addresses");
	if (tables->relative_base) {
		err = memory_read_u64(memory, tables->relative_base, &kallsyms->relative_base);
		if (err)
			return gs_error_prefix(err, "kallsyms_relative_base");
	}

	// Since Linux kernel commit 9d7de2aa8b41 ("x86/percpu/64: Use relative percpu offsets") (in
	// v6.15) per-CPU variables lie in the image, so that x86-64 needs absolute-percpu no more.
	// Since commit a081b5789255
	// ("kallsyms: Get rid of kallsyms relative base") (in v7.0) offsets are place-relative. The
	// anchors tell.
	for (enum kallsyms_encoding encoding = 0; encoding < KALLSYMS_ENCODINGS; encoding++) {
		if (entry_size(encoding) != size)
			continue;
		kallsyms->encoding = encoding;

		size_t matched = matches(kallsyms, anchors, anchor_count);

		if (matched > best) {
			best = matched;
			best_encoding = encoding;
		}
	}

	size_t known = 0;

	for (size_t i = 0; i < anchor_count; i++)
		known += anchors[i].index != KALLSYMS_NONE;
	if (!best || best * 2 < known)
		return gs_error_create(
			GS_ERROR_KERNEL,
			"the kernel's symbol addresses are in no known encoding: _stext does not come out "
			"as VMCOREINFO has it; give a System.map");
	kallsyms->encoding = best_encoding;
	return NULL;
}

static struct gs_error *load(const struct memory *memory, const struct kallsyms_tables *tables,
			     struct kallsyms_anchor *anchors, size_t anchor_count,
			     struct kallsyms *kallsyms)
{
	struct gs_error *err = memory_read_u32(memory, tables->num_syms, &kallsyms->count);

	if (err)
		return gs_error_prefix(err, "kallsyms_num_syms");
	if (!kallsyms->count || kallsyms->count > KALLSYMS_MAX)
		return gs_error_address(GS_ERROR_KERNEL, tables->num_syms,
					"kallsyms_num_syms at 0x%" PRIx64 " is absurd: %u",
					tables->num_syms, kallsyms->count);
	err = load_tokens(memory, tables, kallsyms);
	if (err)
		return err;
	err = load_names(memory, tables->names, kallsyms);
	if (err)
		return err;

	_cleanup_free_ const char **names = calloc(anchor_count, sizeof(*names));
	_cleanup_free_ uint32_t *indexes = calloc(anchor_count, sizeof(*indexes));

	if (!names || !indexes)
		return &gs_enomem;
	for (size_t i = 0; i < anchor_count; i++)
		names[i] = anchors[i].name;
	kallsyms_find(kallsyms, names, indexes, anchor_count);
	for (size_t i = 0; i < anchor_count; i++)
		anchors[i].index = indexes[i];
	return load_addresses(memory, tables, anchors, anchor_count, kallsyms);
}

struct gs_error *kallsyms_load(const struct memory *memory, const struct kallsyms_tables *tables,
			       struct kallsyms_anchor *anchors, size_t anchor_count,
			       struct kallsyms *ret)
{
	memset(ret, 0, sizeof(*ret));

	struct gs_error *err = load(memory, tables, anchors, anchor_count, ret);

	if (err)
		kallsyms_deinit(ret);
	return err;
}

void kallsyms_deinit(struct kallsyms *kallsyms)
{
	free(kallsyms->names);
	free(kallsyms->token_table);
	free(kallsyms->entries);
	memset(kallsyms, 0, sizeof(*kallsyms));
}

// A symbol's type is the first character of its first token that is not empty.
size_t kallsyms_expand(const struct kallsyms *kallsyms, size_t offset, char *type_ret,
		       char name[KALLSYMS_NAME_LEN])
{
	const uint8_t *end = kallsyms->names + kallsyms->names_size;
	const uint8_t *at = kallsyms->names + offset;
	size_t header;
	size_t len = name_len(at, end, &header);
	size_t out = 0;
	bool typed = false;

	*type_ret = '?';
	name[0] = '\0';
	if (!len)
		return 0;
	at += header;
	for (size_t i = 0; i < len; i++) {
		const char *text = kallsyms->tokens[at[i]].text;

		if (!typed && *text) {
			*type_ret = isprint((unsigned char)*text) ? *text : '?';
			text++;
			typed = true;
		}
		for (; *text && out < KALLSYMS_NAME_LEN - 1; text++)
			name[out++] = isgraph((unsigned char)*text) ? *text : '?';
		if (out == KALLSYMS_NAME_LEN - 1)
			break;
	}
	name[out] = '\0';
	at += len;
	return at < end ? (size_t)(at - kallsyms->names) : 0;
}

// Open addressing over the wanted names; at most half full.
struct wanted {
	uint64_t *hashes;
	uint32_t *slots;
	size_t mask;
};

static bool wanted_init(struct wanted *wanted, const char *const *names, size_t count)
{
	size_t size = 64;

	while (size < count * 4)
		size *= 2;
	wanted->mask = size - 1;
	wanted->hashes = calloc(size, sizeof(*wanted->hashes));
	wanted->slots = malloc(size * sizeof(*wanted->slots));
	if (!wanted->hashes || !wanted->slots)
		return false;
	memset(wanted->slots, 0xff, size * sizeof(*wanted->slots));

	for (size_t i = 0; i < count; i++) {
		uint64_t power;
		uint64_t hash = hash_text(names[i], strlen(names[i]), &power);
		size_t slot = (hash >> 32) & wanted->mask;

		while (wanted->slots[slot] != KALLSYMS_NONE)
			slot = (slot + 1) & wanted->mask;
		wanted->slots[slot] = i;
		wanted->hashes[slot] = hash;
	}
	return true;
}

static void wanted_deinit(struct wanted *wanted)
{
	free(wanted->hashes);
	free(wanted->slots);
}

// All the queries with this hash; the same name may have been asked for more than once.
static size_t wanted_hit(const struct kallsyms *kallsyms, const struct wanted *wanted,
			 uint64_t hash, size_t offset, uint32_t symbol, const char *const *names,
			 uint32_t *indexes)
{
	size_t hits = 0;
	char expanded[KALLSYMS_NAME_LEN];
	char type;

	expanded[0] = '\0';
	for (size_t slot = (hash >> 32) & wanted->mask; wanted->slots[slot] != KALLSYMS_NONE;
	     slot = (slot + 1) & wanted->mask) {
		uint32_t query = wanted->slots[slot];

		if (wanted->hashes[slot] != hash || indexes[query] != KALLSYMS_NONE)
			continue;
		if (!expanded[0])
			kallsyms_expand(kallsyms, offset, &type, expanded);
		if (!strcmp(expanded, names[query])) {
			indexes[query] = symbol;
			hits++;
		}
	}
	return hits;
}

void kallsyms_find(const struct kallsyms *kallsyms, const char *const *names, uint32_t *indexes,
		   size_t count)
{
	_cleanup_(wanted_deinit) struct wanted wanted = { NULL, NULL, 0 };
	const uint8_t *end = kallsyms->names + kallsyms->names_size;
	const uint8_t *at = kallsyms->names;
	size_t left = count;

	for (size_t i = 0; i < count; i++)
		indexes[i] = KALLSYMS_NONE;
	if (!wanted_init(&wanted, names, count))
		return;

	for (uint32_t symbol = 0; symbol < kallsyms->count && left; symbol++) {
		size_t header;
		size_t len = name_len(at, end, &header);

		if (!len)
			return;

		const uint8_t *data = at + header;
		uint64_t hash = kallsyms->tokens[data[0]].tail_hash;

		for (size_t i = 1; i < len; i++) {
			const struct kallsyms_token *token = &kallsyms->tokens[data[i]];

			hash = hash * token->power + token->hash;
		}
		if (wanted.slots[(hash >> 32) & wanted.mask] != KALLSYMS_NONE)
			left -= wanted_hit(kallsyms, &wanted, hash, at - kallsyms->names, symbol,
					   names, indexes);
		at = data + len;
	}
}
