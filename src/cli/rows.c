// SPDX-License-Identifier: Apache-2.0
#include "cli/rows.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "util/array.h"

enum { CHUNK_SIZE = 64 * 1024 };

struct rows_chunk {
	struct rows_chunk *next;
	size_t used, size;
	alignas(8) char bytes[];
};

void rows_deinit(struct rows *rows)
{
	while (rows->chunks) {
		struct rows_chunk *next = rows->chunks->next;

		free(rows->chunks);
		rows->chunks = next;
	}
	free(rows->rows);
	*rows = (struct rows){};
}

void *rows_alloc(struct rows *rows, size_t size)
{
	struct rows_chunk *chunk = rows->chunks;

	size = (size + 7) & ~(size_t)7;
	if (!chunk || chunk->size - chunk->used < size) {
		size_t room = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;

		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk) {
			rows->out_of_memory = true;
			return NULL;
		}
		*chunk = (struct rows_chunk){ .next = rows->chunks, .size = room };
		rows->chunks = chunk;
	}

	void *ret = chunk->bytes + chunk->used;

	chunk->used += size;
	return ret;
}

static const char *keep(struct rows *rows, const char *s, size_t len)
{
	char *copy = rows_alloc(rows, len + 1);

	if (!copy)
		return "";
	memcpy(copy, s, len);
	copy[len] = 0;
	return copy;
}

// Names repeat in every row of a format: one copy will do.
static const char *keep_name(struct rows *rows, const struct gs_record *record, size_t i)
{
	const char *name = record->items[i].name;

	if (rows->count) {
		const struct row *last = &rows->rows[rows->count - 1];

		if (last->format == record->format && i < last->count &&
		    !strcmp(last->items[i].name, name))
			return last->items[i].name;
	}
	return keep(rows, name, strlen(name));
}

void rows_add(struct rows *rows, const struct gs_record *record)
{
	struct row row = { .format = record->format, .count = record->count };

	row.items = rows_alloc(rows, sizeof(*row.items) * row.count);
	if (!row.items)
		return;
	for (size_t i = 0; i < row.count; i++) {
		struct gs_item *item = &row.items[i];

		*item = record->items[i];
		item->name = keep_name(rows, record, i);
		if (item->type == GS_ITEM_STRING || item->type == GS_ITEM_SYMBOL) {
			item->string = keep(rows, item->string, item->length);
		} else if (item->type == GS_ITEM_HEX || item->type == GS_ITEM_DOUBLE) {
			// How many digits is the format's to say. Other numbers become text only when shown.
			const char *text = gs_record_item_text(record, i);

			item->string = keep(rows, text, strlen(text));
		}
	}
	if (!gs_array_push(rows->rows, rows->count, rows->capacity, row))
		rows->out_of_memory = true;
}

const struct gs_item *row_item(const struct row *row, const char *name)
{
	for (size_t i = 0; i < row->count; i++) {
		if (!strcmp(row->items[i].name, name))
			return &row->items[i];
	}
	return NULL;
}

bool item_is_number(const struct gs_item *item)
{
	return item->type == GS_ITEM_INT || item->type == GS_ITEM_UINT ||
	       item->type == GS_ITEM_HEX || item->type == GS_ITEM_DOUBLE;
}

uint64_t item_number(const struct gs_item *item)
{
	if (!item)
		return 0;
	switch (item->type) {
	case GS_ITEM_INT:
		return item->i < 0 ? 0 : item->i;
	case GS_ITEM_UINT:
	case GS_ITEM_HEX:
		return item->u;
	default:
		return 0;
	}
}

uint64_t row_number(const struct row *row, const char *name)
{
	return item_number(row_item(row, name));
}

const char *item_text(struct rows *rows, const struct gs_item *item)
{
	char number[TEXT_NUMBER_MAX];
	char *text;

	switch (item->type) {
	case GS_ITEM_INT:
		return keep(rows, number, snprintf(number, sizeof(number), "%" PRId64, item->i));
	case GS_ITEM_UINT:
		return keep(rows, number, snprintf(number, sizeof(number), "%" PRIu64, item->u));
	case GS_ITEM_CHAR:
		number[0] = item->u;
		text = rows_alloc(rows, TEXT_ESCAPED_MAX(1) + 1);
		if (text)
			text_escape(text, number, 1, false);
		return text ? text : "";
	case GS_ITEM_STRING:
		text = rows_alloc(rows, TEXT_ESCAPED_MAX(item->length) + 1);
		if (text)
			text_escape(text, item->string, item->length, false);
		return text ? text : "";
	default:
		return item->string;
	}
}
