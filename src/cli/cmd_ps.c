// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/rows.h"
#include "cli/table.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: $usage [-l] [--sort [-]COLUMN] [--json]\n"
	"List the processes that the kernel's own task list holds.\n"
	"\n"
	"  -l, --long         every column as the detector gives it (kB, nanoseconds)\n"
	"  --sort [-]COLUMN   sort by a column, with '-' from the greatest down; 'time'\n"
	"                     is user and system time together, 'rss' is rss_kb\n"
	"  --json             an array of objects with the columns of --long\n"
	"\n"
	"STATE is a letter as in ps(1); START counts from boot; names of kernel threads\n"
	"stand in brackets.\n"
	"\n"
	"  $example --sort -rss | head\n"
	"  $example --json | jq '.[] | select(.state == \"D\")'\n";

// A column as people see it, made of one or two of the detector's.
static const struct column {
	struct table_column table;
	const char *source, *second;
	enum { AS_IS, SIZE_KB, CPU_TIME, SINCE_BOOT, COMM } show;
} columns[] = {
	{ { "PID", true }, "pid", NULL, AS_IS },
	{ { "PPID", true }, "ppid", NULL, AS_IS },
	{ { "UID", true }, "uid", NULL, AS_IS },
	{ { "STATE", false }, "state", NULL, AS_IS },
	{ { "THREADS", true }, "threads", NULL, AS_IS },
	{ { "RSS", true }, "rss_kb", NULL, SIZE_KB },
	{ { "TIME", true }, "utime_ns", "stime_ns", CPU_TIME },
	{ { "START", true }, "start_ns", NULL, SINCE_BOOT },
	{ { "COMM", false }, "comm", NULL, COMM },
};

// The items that a column shows in one row; NULL: the detector has no such column.
struct shown {
	const struct gs_item *item, *second;
	bool kthread;
};

static const char *keep_text(struct rows *rows, const char *format, const char *text)
	__attribute__((format(printf, 2, 0)));

static const char *keep_text(struct rows *rows, const char *format, const char *text)
{
	size_t size = strlen(text) + 8;
	char *copy = rows_alloc(rows, size);

	if (!copy)
		return "";
	snprintf(copy, size, format, text);
	return copy;
}

static const char *cell(struct rows *rows, const struct shown *shown, const struct column *column)
{
	uint64_t value = item_number(shown->item);
	char buf[TEXT_NUMBER_MAX];

	if (!shown->item)
		return "-";
	switch (column->show) {
	case COMM:
		if (shown->kthread)
			return keep_text(rows, "[%s]", item_text(rows, shown->item));
		return item_text(rows, shown->item);
	case AS_IS:
		return item_text(rows, shown->item);
	case SIZE_KB:
		// A kernel thread has no memory of its own: "-" lets the eye skip it.
		if (!value)
			return "-";
		text_size(buf, value > UINT64_MAX / 1024 ? UINT64_MAX : value * 1024);
		break;
	case CPU_TIME:
		text_cpu_time(buf, value + item_number(shown->second));
		break;
	case SINCE_BOOT:
		text_duration(buf, value);
		break;
	}
	return keep_text(rows, "%s", buf);
}

// Where in a row the columns' items are: looked up once for all rows of a format.
struct places {
	const struct row *row;
	size_t source[ARRAY_SIZE(columns)], second[ARRAY_SIZE(columns)], kthread;
};

static size_t place(const struct row *row, const char *name)
{
	const struct gs_item *item = name ? row_item(row, name) : NULL;

	return item ? (size_t)(item - row->items) : SIZE_MAX;
}

static void find_places(struct places *places, const struct row *row)
{
	if (places->row && places->row->format == row->format)
		return;
	places->row = row;
	places->kthread = place(row, "kthread");
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		places->source[i] = place(row, columns[i].source);
		places->second[i] = place(row, columns[i].second);
	}
}

static const struct gs_item *item_at(const struct row *row, size_t index)
{
	return index < row->count ? &row->items[index] : NULL;
}

static struct gs_error *print_short(struct rows *rows)
{
	struct table_column headings[ARRAY_SIZE(columns)];
	_cleanup_table_ struct table table = {
		.columns = headings,
		.column_count = ARRAY_SIZE(columns),
	};
	struct places places = {};

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		headings[i] = columns[i].table;
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->rows[i];

		find_places(&places, row);
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++) {
			struct shown shown = {
				.item = item_at(row, places.source[j]),
				.second = item_at(row, places.second[j]),
				.kthread = item_number(item_at(row, places.kthread)),
			};

			if (!table_add(&table, cell(rows, &shown, &columns[j])))
				return &gs_enomem;
		}
	}
	table_print(&table);
	return NULL;
}

static struct gs_error *print_long(struct rows *rows)
{
	if (!rows->count)
		return NULL;

	// All rows come from one call of row(): the first one names the columns.
	const struct row *first = &rows->rows[0];
	struct table_column headings[GS_RECORD_MAX_ARGS];
	_cleanup_table_ struct table table = { .columns = headings };

	for (size_t i = 0; i < first->count && i < ARRAY_SIZE(headings); i++) {
		headings[i] = (struct table_column){ first->items[i].name,
						     item_is_number(&first->items[i]) };
		table.column_count++;
	}
	for (size_t i = 0; i < rows->count; i++) {
		for (size_t j = 0; j < table.column_count; j++) {
			const struct gs_item *item = row_item(&rows->rows[i], headings[j].heading);

			if (!table_add(&table, item ? item_text(rows, item) : "-"))
				return &gs_enomem;
		}
	}
	table_print(&table);
	return NULL;
}

struct sort_key {
	// Column, and one to be added to it or NULL.
	const char *name, *second;
	bool descending;
};

static int compare_items(const struct gs_item *x, const struct gs_item *y)
{
	if (x->type == GS_ITEM_STRING && y->type == GS_ITEM_STRING)
		return strcmp(x->string, y->string);
	if (x->type == GS_ITEM_INT)
		return (x->i > y->i) - (x->i < y->i);
	if (x->type == GS_ITEM_DOUBLE)
		return (x->d > y->d) - (x->d < y->d);
	return (x->u > y->u) - (x->u < y->u);
}

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct sort_key *key = arg;
	const struct gs_item *x = row_item(a, key->name), *y = row_item(b, key->name);
	int order;

	if (!x || !y) {
		order = !x - !y;
	} else if (key->second) {
		uint64_t u = row_number(a, key->name) + row_number(a, key->second);
		uint64_t v = row_number(b, key->name) + row_number(b, key->second);

		order = (u > v) - (u < v);
	} else {
		order = compare_items(x, y);
	}
	if (order)
		return key->descending ? -order : order;

	// qsort_r() may reorder what is equal; the process id makes the output the same every time.
	uint64_t p = row_number(a, "pid"), q = row_number(b, "pid");

	return (p > q) - (p < q);
}

static struct gs_error *sort_rows(struct rows *rows, const char *by)
{
	struct sort_key key = { .name = by };
	char with_unit[64];

	if (!rows->count)
		return NULL;
	if (*by == '-' || *by == '+') {
		key.descending = *by == '-';
		key.name = ++by;
	}
	if (!strcmp(by, "time")) {
		key.name = "utime_ns";
		key.second = "stime_ns";
	}
	for (const char *const *unit = (const char *const[]){ "_kb", "_ns", NULL };
	     *unit && !row_item(&rows->rows[0], key.name); unit++) {
		snprintf(with_unit, sizeof(with_unit), "%s%s", by, *unit);
		if (row_item(&rows->rows[0], with_unit))
			key.name = with_unit;
	}
	if (!row_item(&rows->rows[0], key.name)) {
		return gs_error_create(GS_ERROR_USAGE,
				       "no column '%s' to sort by; 'ps --long' shows them all", by);
	}
	qsort_r(rows->rows, rows->count, sizeof(*rows->rows), compare_rows, &key);
	return NULL;
}

struct gs_error *cmd_ps(struct cli *cli, int argc, char **argv)
{
	enum { SORT = CLI_OPTION_COMMAND };
	static const struct option options[] = {
		{ "long", no_argument, NULL, 'l' },
		{ "sort", required_argument, NULL, SORT },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "l", options, false };
	struct gs_error *err = NULL;
	const char *sort = NULL;
	bool all = false;
	int c;

	while ((c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'l')
			all = true;
		else
			sort = optarg;
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	if (err)
		return err;

	_cleanup_rows_ struct rows rows = {};
	_cleanup_error_ struct gs_error *incomplete =
		cli->program->run_once(cli, "processes", &rows);

	if (incomplete && incomplete->code != GS_ERROR_INCOMPLETE)
		return no_cleanup_ptr(incomplete);
	if (sort) {
		err = sort_rows(&rows, sort);
		if (err)
			return err;
	}
	if (cli->json)
		json_print_rows(&rows);
	else
		err = all ? print_long(&rows) : print_short(&rows);
	return err ? err : no_cleanup_ptr(incomplete);
}
