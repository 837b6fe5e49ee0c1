// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

void table_deinit(struct table *table)
{
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_capacity = 0;
}

static struct table_cell make_cell(const char *text)
{
	return (struct table_cell){ text, strlen(text), text_width(text) };
}

bool table_add(struct table *table, const char *text)
{
	struct table_cell cell = make_cell(text);

	return gs_array_push(table->cells, table->cell_count, table->cell_capacity, cell);
}

static void print_spaces(size_t count)
{
	for (; count; count--)
		putc_unlocked(' ', stdout);
}

static void print_cell(const struct table_cell *cell, size_t width, bool right, bool last)
{
	size_t pad = cell->width < width ? width - cell->width : 0;

	if (right)
		print_spaces(pad);
	fwrite_unlocked(cell->text, 1, cell->size, stdout);
	if (!right && !last)
		print_spaces(pad);
	putc_unlocked(last ? '\n' : ' ', stdout);
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
		if (table->cells[i].width > widths[i % n])
			widths[i % n] = table->cells[i].width;
	}
	for (size_t i = 0; i < n; i++) {
		struct table_cell heading = make_cell(table->columns[i].heading);

		print_cell(&heading, widths[i], table->columns[i].right, i + 1 == n);
	}
	for (size_t i = 0; i < table->cell_count; i++)
		print_cell(&table->cells[i], widths[i % n], table->columns[i % n].right,
			   i % n + 1 == n);
}
