// SPDX-License-Identifier: Apache-2.0
#include "grass/symbols.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

struct symbol {
	uint64_t address;
	// Of a module; 0: a symbol of the kernel, which reaches to the next one.
	uint64_t size;
	const char *name;
	// Which of the kernel's symbols it is.
	size_t order;
};

struct symbols {
	char *text;
	struct symbol *list;
	size_t count, capacity;
};

struct text {
	char *bytes;
	size_t used;
	FILE *file;
	struct symbol *list;
	size_t count, capacity;
	bool failed;
};

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address > y->address ? 1 : -1;
	return (x->order > y->order) - (x->order < y->order);
}

static bool collect(void *arg, const char *name, char type, uint64_t address)
{
	struct text *text = arg;
	struct symbol symbol = {
		.address = address,
		.name = strdup(name),
		.order = text->count,
	};

	(void)type;
	// Per-CPU variables have no address.
	if (address >> 63 == 0 || !*name) {
		free((char *)symbol.name);
		return true;
	}
	// The kernel's memory may hold anything; a line is one name.
	for (char *p = (char *)symbol.name; p && *p; p++) {
		if (*p <= ' ' || *p > '~')
			*p = '?';
	}
	if (!symbol.name || !gs_array_push(text->list, text->count, text->capacity, symbol)) {
		free((char *)symbol.name);
		text->failed = true;
	}
	return !text->failed;
}

static struct gs_error *collect_all(struct gs_kernel *kernel, struct text *text)
{
	_cleanup_free_ struct gs_module *modules = NULL;
	size_t count = 0;
	struct gs_error *err = gs_kernel_for_each_symbol(kernel, collect, text);

	if (err)
		return err;
	// Modules are more than nothing: without their list, the kernel's own are known.
	gs_error_destroy(gs_kernel_modules(kernel, &modules, &count));
	for (size_t i = 0; i < count && !text->failed; i++) {
		if (!modules[i].text_size)
			continue;
		size_t before = text->count;

		collect(text, modules[i].name, 'm', modules[i].text);
		if (text->count > before)
			text->list[text->count - 1].size = modules[i].text_size;
	}
	return text->failed ? &gs_enomem : NULL;
}

static struct gs_error *write_text(struct text *text)
{
	text->file = open_memstream(&text->bytes, &text->used);
	if (!text->file)
		return &gs_enomem;
	qsort(text->list, text->count, sizeof(*text->list), by_address);
	for (size_t i = 0; i < text->count; i++) {
		const struct symbol *s = &text->list[i];

		// Of those that share an address the kernel prints the first.
		if (i && s->address == s[-1].address)
			continue;
		if (s->size)
			fprintf(text->file, "%" PRIx64 " %" PRIx64 " %s\n", s->address, s->size,
				s->name);
		else
			fprintf(text->file, "%" PRIx64 " %s\n", s->address, s->name);
	}
	return fclose(text->file) ? &gs_enomem : NULL;
}

struct gs_error *symbols_pack(struct gs_kernel *kernel, uint8_t **ret, size_t *size_ret,
			      size_t *text_size_ret)
{
	struct text text = {};
	struct gs_error *err = collect_all(kernel, &text);

	if (!err)
		err = write_text(&text);
	if (!err) {
		uLongf size = compressBound(text.used);
		uint8_t *packed = malloc(size);

		if (!packed ||
		    compress2(packed, &size, (const Bytef *)text.bytes, text.used, 6) != Z_OK) {
			free(packed);
			err = &gs_enomem;
		} else {
			*ret = packed;
			*size_ret = size;
			*text_size_ret = text.used;
		}
	}
	for (size_t i = 0; i < text.count; i++)
		free((char *)text.list[i].name);
	free(text.list);
	free(text.bytes);
	return err;
}

void symbols_free(struct symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->list);
	free(symbols->text);
	free(symbols);
}

static void cleanup_symbols(struct symbols **symbols)
{
	symbols_free(*symbols);
}

// A line, ended by NUL.
static bool parse_line(const char *line, uint64_t before, struct symbol *ret)
{
	const char *rest;

	*ret = (struct symbol){};
	if (!gs_parse_hex(&line, &ret->address) || *line++ != ' ' || ret->address < before)
		return false;
	// A name may look like a number; two words are a module.
	rest = line;
	if (strchr(line, ' ') && (!gs_parse_hex(&rest, &ret->size) || *rest++ != ' ' || !ret->size))
		return false;
	ret->name = rest;
	if (!strchr(line, ' '))
		ret->name = line;
	for (const char *p = ret->name; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return false;
	}
	return *ret->name;
}

struct gs_error *symbols_unpack(const uint8_t *packed, size_t size, size_t text_size,
				struct symbols **ret)
{
	_cleanup_(cleanup_symbols) struct symbols *symbols = calloc(1, sizeof(*symbols));
	uint64_t before = 0;

	if (text_size > SYMBOLS_SIZE_MAX)
		return gs_error_create(GS_ERROR_OTHER, "the host's symbols are too many");
	if (!symbols)
		return &gs_enomem;
	symbols->text = malloc(text_size + 1);
	if (!symbols->text)
		return &gs_enomem;

	uLongf got = text_size;

	if (uncompress((Bytef *)symbols->text, &got, packed, size) != Z_OK || got != text_size)
		return gs_error_create(GS_ERROR_OTHER, "the host's symbols are damaged");
	symbols->text[text_size] = '\0';
	for (char *line = symbols->text; *line;) {
		char *end = strchr(line, '\n');
		struct symbol symbol;

		if (!end)
			return gs_error_create(GS_ERROR_OTHER, "the host's symbols are damaged");
		*end = '\0';
		if (!parse_line(line, before, &symbol))
			return gs_error_create(GS_ERROR_OTHER, "the host's symbols are damaged");
		before = symbol.address;
		if (!gs_array_push(symbols->list, symbols->count, symbols->capacity, symbol))
			return &gs_enomem;
		line = end + 1;
	}
	*ret = no_cleanup_ptr(symbols);
	return NULL;
}

void symbols_name(const struct symbols *symbols, uint64_t address, char *buf, size_t len)
{
	size_t low = 0, high = symbols ? symbols->count : 0;

	// The first one behind it.
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->list[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low) {
		const struct symbol *s = &symbols->list[low - 1];
		uint64_t offset = address - s->address;

		if (s->size && offset < s->size) {
			snprintf(buf, len, "0x%" PRIx64 " [%s]", offset, s->name);
			return;
		}
		// The last one of the kernel reaches nowhere.
		if (!s->size && low < symbols->count && !symbols->list[low].size) {
			snprintf(buf, len, "%s+0x%" PRIx64 "/0x%" PRIx64, s->name, offset,
				 symbols->list[low].address - s->address);
			return;
		}
	}
	snprintf(buf, len, "0x%" PRIx64, address);
}
