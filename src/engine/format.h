/* SPDX-License-Identifier: Apache-2.0 */
// printf formats of detectors: which columns they have, and how their items look.
//
// The conversions are those of gpusentinel/fat.h. They come from a file, the values from a detector
// and the strings from a watched kernel: nothing is handed to printf() as it is.
#ifndef GS_ENGINE_FORMAT_H
#define GS_ENGINE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <gpusentinel/engine.h>

// A growing, NUL-terminated text. If memory is short, failed is set and what was added is missing.
struct text {
	char *data;
	size_t size, capacity;
	bool failed;
};

// Make room for @size bytes and a NUL; false if memory is short.
bool text_grow(struct text *text, size_t size);

static inline bool text_reserve(struct text *text, size_t size)
{
	return __builtin_expect(text->capacity - text->size > size, 1) || text_grow(text, size);
}

// In line: a list of processes is made of some hundred thousand pieces.
static inline void text_add(struct text *text, const char *bytes, size_t size)
{
	if (!text_reserve(text, size))
		return;
	memcpy(text->data + text->size, bytes, size);
	text->size += size;
	text->data[text->size] = 0;
}

// Bytes of the text itself.
void text_add_own(struct text *text, size_t offset, size_t size);
// With control characters and what is no UTF-8 written as \xNN.
void text_add_escaped(struct text *text, const char *bytes, size_t size);

struct format_item {
	// Column name.
	char *name;
	// Literal text before the conversion, %% replaced.
	char *literal;
	size_t literal_size;
	// GS_ITEM_*
	int type;
	// Letter of the conversion; 0: a metric's value, which the text does not show.
	char conversion;
	// Bytes of the argument: printf's h, l and so on.
	unsigned int size;
	// Some of "-+ #0", NUL-terminated.
	char flags[6];
	// -1: not given.
	int width, precision;
};

struct format {
	// Of an alarm: the table of conditions. Else empty.
	char *name;
	// Items that the text does not show come first.
	size_t hidden;
	struct format_item *items;
	size_t count;
	// Literal text behind the last conversion.
	char *tail;
	size_t tail_size;
};

// The value of an item as a record holds it.
struct format_value {
	uint64_t u;
	// For strings; not NUL-terminated.
	const char *bytes;
	size_t length;
};

typedef void format_symbolize_fn(void *arg, uint64_t address, char *buf, size_t len);

// @kind is enum gs_record_kind. GS_ERROR_DETECTOR names the conversion that is not known.
struct gs_error *format_parse(const char *text, uint32_t kind, struct format **ret);
void format_destroy(struct format *format);

// The integer as its conversion sees it, cut to its size and sign-extended for %d and %i.
uint64_t format_integer(const struct format_item *item, uint64_t value);

// Append the item as its conversion shows it.
void format_add_item(const struct format_item *item, const struct format_value *value,
		     format_symbolize_fn *symbolize, void *arg, struct text *text);

#endif
