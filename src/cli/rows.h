/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Records kept beyond the call that delivered them.
 */
#ifndef GS_CLI_ROWS_H
#define GS_CLI_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/engine.h>

struct row {
	/** Format of the record: rows with the same one have the same columns. */
	uint32_t format;
	uint32_t count;
	struct gs_item *items;
};

struct rows_chunk;

/** Zero-initialise; end it with rows_deinit(). */
struct rows {
	struct row *rows;
	size_t count, capacity;
	/** Something could not be kept. */
	bool out_of_memory;
	/** Memory of items and strings. */
	struct rows_chunk *chunks;
};

void rows_deinit(struct rows *rows);
#define _cleanup_rows_ __attribute__((cleanup(rows_deinit)))

/** Copy a record. */
void rows_add(struct rows *rows, const struct gs_record *record);

/** Memory that ends with @p rows, aligned to 8 bytes; NULL if there is none (and out_of_memory is set). */
void *rows_alloc(struct rows *rows, size_t size);

/** The item named @p name; NULL if the row has none. */
const struct gs_item *row_item(const struct row *row, const char *name);

/** Value of a numeric item, negative ones as 0; 0 for no item (NULL) and for what is no number. */
uint64_t item_number(const struct gs_item *item);

/** item_number() of the item named @p name. */
uint64_t row_number(const struct row *row, const char *name);

/** True for integers, false for text. */
bool item_is_number(const struct gs_item *item);

/** The item as a row's column is shown to people: escaped. Memory of @p rows; never NULL. */
const char *item_text(struct rows *rows, const struct gs_item *item);

#endif
