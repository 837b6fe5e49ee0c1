/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Aligned tables for people.
 */
#ifndef GS_CLI_TABLE_H
#define GS_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct table_column {
	const char *heading;
	/** Numbers stand flush right. */
	bool right;
};

/** A table under construction. */
struct table {
	const struct table_column *columns;
	size_t column_count;
	/** column_count strings a row, escaped; owned by the caller. */
	const char **cells;
	size_t cell_count, cell_capacity;
};

void table_deinit(struct table *table);
#define _cleanup_table_ __attribute__((cleanup(table_deinit)))

/** Append the next cell of the current row. The string must live as long as the table; false: memory is short. */
bool table_add(struct table *table, const char *cell);

/** Print headings and rows on standard output; the last column is not padded. */
void table_print(const struct table *table);

#endif
