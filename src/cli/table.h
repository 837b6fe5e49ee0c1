/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Aligned tables for people.
 */
#ifndef GS_CLI_TABLE_H
#define GS_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_column {
	const char *heading;
	/** Numbers stand flush right. */
	bool right;
};

struct table_cell {
	const char *text;
	/** Bytes, and columns of the terminal. */
	uint32_t size, width;
};

/** A table under construction. */
struct table {
	const struct table_column *columns;
	size_t column_count;
	/** column_count a row; their text is escaped and owned by the caller. */
	struct table_cell *cells;
	size_t cell_count, cell_capacity;
};

void table_deinit(struct table *table);
#define _cleanup_table_ __attribute__((cleanup(table_deinit)))

/** Append the next cell of the current row. The string must live as long as the table; false: memory is short. */
bool table_add(struct table *table, const char *text);

/** Print headings and rows on standard output; the last column is not padded. */
void table_print(const struct table *table);

#endif
