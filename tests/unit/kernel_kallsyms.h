/* SPDX-License-Identifier: Apache-2.0 */
// Makes kallsyms tables as scripts/kallsyms does, in every encoding and order of linking.
#ifndef TESTS_UNIT_KERNEL_KALLSYMS_H
#define TESTS_UNIT_KERNEL_KALLSYMS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kallsyms.h"

struct made_symbol {
	// Type character and name.
	const char *name;
	uint64_t address;
};

struct made_table {
	uint8_t *buf;
	size_t size, capacity;
	uint64_t address;
	// 8, or 4 since v7.0.
	size_t align;
	struct kallsyms_tables tables;
};

static inline uint64_t made_put(struct made_table *table, const void *data, size_t len)
{
	size_t at = (table->size + table->align - 1) / table->align * table->align;

	if (at + len > table->capacity)
		abort();
	memcpy(table->buf + at, data, len);
	table->size = at + len;
	return table->address + at;
}

// Token N stands for the character N, but for some codes that no symbol uses: those stand for
// longer texts.
static const char *const made_long_tokens[] = { "sys_",	 "__",	 "init", "tTask",
						"ext4_", "lock", "_get", "cpu" };

static inline void made_tokens(struct made_table *table)
{
	char texts[KALLSYMS_TOKENS * 8];
	uint16_t index[KALLSYMS_TOKENS];
	size_t at = 0;

	for (int i = 0; i < KALLSYMS_TOKENS; i++) {
		index[i] = at;
		if (i >= 0x80 && i - 0x80 < 8)
			at += sprintf(texts + at, "%s", made_long_tokens[i - 0x80]) + 1;
		else if (i > ' ' && i < 0x7f)
			at += sprintf(texts + at, "%c", i) + 1;
		else
			at += sprintf(texts + at, "q%d", i) + 1;
	}
	table->tables.token_table = made_put(table, texts, at);
	table->tables.token_index = made_put(table, index, sizeof(index));
}

static inline size_t made_compress(const char *name, uint8_t *out)
{
	uint8_t codes[4096];
	size_t len = 0;

	// The type comes first and alone here, as the longer tokens could swallow it.
	for (const char *at = name; *at;) {
		int code = (unsigned char)*at, step = 1;

		for (int i = 0; at != name && i < 8; i++) {
			if (!strncmp(at, made_long_tokens[i], strlen(made_long_tokens[i]))) {
				code = 0x80 + i;
				step = strlen(made_long_tokens[i]);
				break;
			}
		}
		codes[len++] = code;
		at += step;
	}

	size_t header = 1;

	out[0] = len;
	if (len > 0x7f) {
		out[0] = (len & 0x7f) | 0x80;
		out[1] = len >> 7;
		header = 2;
	}
	memcpy(out + header, codes, len);
	return header + len;
}

static inline void made_names(struct made_table *table, const struct made_symbol *symbols,
			      uint32_t count)
{
	uint8_t *names = malloc(count * 4096);
	uint32_t *markers = calloc(count / 256 + 1, sizeof(*markers));
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i % 256 == 0)
			markers[i / 256] = size;
		size += made_compress(symbols[i].name, names + size);
	}
	table->tables.num_syms = made_put(table, &count, sizeof(count));
	table->tables.names = made_put(table, names, size);
	made_put(table, markers, (count + 255) / 256 * sizeof(*markers));
	free(names);
	free(markers);
}

static inline void made_addresses(struct made_table *table, const struct made_symbol *symbols,
				  uint32_t count, enum kallsyms_encoding encoding,
				  uint64_t relative_base)
{
	size_t at = (table->size + table->align - 1) / table->align * table->align;
	uint64_t *absolute = calloc(count, sizeof(*absolute));
	uint32_t *offsets = calloc(count, sizeof(*offsets));

	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = symbols[i].address;

		absolute[i] = address;
		if (encoding == KALLSYMS_RELATIVE)
			offsets[i] = address - relative_base;
		else if (encoding == KALLSYMS_ABSOLUTE_PERCPU)
			offsets[i] = (int64_t)address >= 0 ? address : relative_base - 1 - address;
		else
			offsets[i] = address - (table->address + at + i * sizeof(*offsets));
	}
	if (encoding == KALLSYMS_ABSOLUTE)
		table->tables.addresses = made_put(table, absolute, count * sizeof(*absolute));
	else
		table->tables.offsets = made_put(table, offsets, count * sizeof(*offsets));
	if (encoding == KALLSYMS_RELATIVE || encoding == KALLSYMS_ABSOLUTE_PERCPU) {
		table->align = 8;
		table->tables.relative_base =
			made_put(table, &relative_base, sizeof(relative_base));
	}
	free(absolute);
	free(offsets);
}

// @addresses_first: the order of linking before Linux kernel commit 404bad70fcf7 (in v6.4). The
// rest of @buf is filled with noise.
static inline struct made_table make_kallsyms(uint8_t *buf, size_t capacity, uint64_t address,
					      size_t align, const struct made_symbol *symbols,
					      uint32_t count, enum kallsyms_encoding encoding,
					      uint64_t relative_base, bool addresses_first)
{
	struct made_table table = {
		.buf = buf, .capacity = capacity, .address = address, .align = align
	};
	uint32_t noise = 12345;

	for (size_t i = 0; i < capacity; i++) {
		noise = noise * 1664525 + 1013904223;
		buf[i] = i % 32 < 16 ? noise >> 24 : 0;
	}
	table.size = 4096 + 16;
	if (addresses_first)
		made_addresses(&table, symbols, count, encoding, relative_base);
	made_names(&table, symbols, count);
	made_tokens(&table);
	if (!addresses_first)
		made_addresses(&table, symbols, count, encoding, relative_base);
	return table;
}

#endif
