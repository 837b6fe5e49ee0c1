// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

void table_deinit(struct table *table)
{
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_capacity = 0;
}

bool table_add(struct table *table, const char *cell)
{
	return gs_array_push(table->cells, table->cell_count, table->cell_capacity, cell);
}

static void print_cell(const char *cell, size_t width, bool right, bool last)
{
	size_t used = text_width(cell);
	int pad = used < width ? (int)(width - used) : 0;

	if (right)
		printf("%*s%s", pad, "", cell);
	else
		printf("%s%*s", cell, last ? 0 : pad, "");
	putchar(last ? '\n' : ' ');
}

void table_print(const struct table *table)
{
	size_t n = table->column_count;
	_cleanup_free_ size_t *widths = calloc(n ? n : 1, sizeof(*widths));

	if (!widths)
		return;
	for (size_t i = 0; i < n; i++)
		widths[i] = text_width(table->columns[i].heading);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t width = text_width(table->cells[i]);

		if (width > widths[i % n])
			widths[i % n] = width;
	}
	for (size_t i = 0; i < n; i++)
		print_cell(table->columns[i].heading, widths[i], table->columns[i].right,
			   i + 1 == n);
	for (size_t i = 0; i < table->cell_count; i++)
		print_cell(table->cells[i], widths[i % n], table->columns[i % n].right,
			   i % n + 1 == n);
}
