// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/rows.h"
#include "cli/table.h"
#include "cli/text.h"
#include "grass_cli/grass.h"
#include "util/array.h"

static const char help[] =
	"Usage: grass detectors HOST [--json]\n"
	"What each of the host's detectors does: its state, period, runs, how long the\n"
	"last one and the longest took, loads that failed, records that were lost, runs\n"
	"that ended early.\n"
	"\n"
	"  --json   an array of objects\n"
	"\n"
	"A detector is \"stalled\" that has been in one run for ten periods, and a second\n"
	"at least.\n"
	"\n"
	"  grass detectors web1\n"
	"  grass detectors web1 --json | jq '.[] | select(.lost > 0)'\n";

static const char *state_text(const struct gs_mailbox_detector *row, bool stalled)
{
	static const char *const texts[] = {
		[GS_MAILBOX_EMPTY] = "empty",
		[GS_MAILBOX_WAITING] = "waiting",
		[GS_MAILBOX_RUNNING] = "running",
		[GS_MAILBOX_STOPPED] = "stopped",
	};

	if (stalled)
		return "stalled";
	return row->state < ARRAY_SIZE(texts) ? texts[row->state] : "?";
}

static uint64_t early_ends(const struct gs_mailbox_detector *row)
{
	return row->stopped_budget + row->stopped_bounds + row->stopped_trap;
}

static struct json_object *row_object(const struct gs_mailbox_detector *row, bool stalled)
{
	struct json_object *object = json_object_new_object();

	json_add_string(object, "name", row->name);
	json_add_string(object, "state", state_text(row, stalled));
	json_add_bool(object, "stalled", stalled);
	json_add_number(object, "period_us", row->period_us);
	json_add_number(object, "blocks", row->blocks);
	json_add_number(object, "threads", row->threads);
	json_add_number(object, "runs", row->runs);
	json_add_number(object, "last_ns", row->last_ns);
	json_add_number(object, "max_ns", row->max_ns);
	json_add_number(object, "faults", row->faults);
	json_add_hex(object, "fault_address", row->fault_address);
	json_add_number(object, "findings", row->records[GS_MAILBOX_FINDINGS]);
	json_add_number(object, "rows", row->records[GS_MAILBOX_DATA]);
	json_add_number(object, "lost", row->lost);
	json_add_number(object, "metrics_lost", row->metrics_lost);
	json_add_number(object, "stopped_budget", row->stopped_budget);
	json_add_number(object, "stopped_bounds", row->stopped_bounds);
	json_add_number(object, "stopped_trap", row->stopped_trap);
	json_add_number(object, "generation", row->generation);
	return object;
}

static const char *keep_number(struct rows *memory, uint64_t value)
{
	struct gs_item item = { .type = GS_ITEM_UINT, .u = value };

	return item_text(memory, &item);
}

static const char *keep_ms(struct rows *memory, double ns)
{
	char *text = rows_alloc(memory, TEXT_NUMBER_MAX);

	if (!text)
		return "";
	snprintf(text, TEXT_NUMBER_MAX, "%.3f", ns / 1e6);
	return text;
}

static const char *keep_name(struct rows *memory, const char *name)
{
	struct gs_item item = {
		.type = GS_ITEM_STRING,
		.string = name,
		.length = strlen(name),
	};

	return item_text(memory, &item);
}

static bool add_row(struct table *table, struct rows *memory, const struct gs_mailbox_detector *row,
		    bool stalled)
{
	return table_add(table, keep_name(memory, row->name)) &&
	       table_add(table, state_text(row, stalled)) &&
	       table_add(table, keep_ms(memory, row->period_us * 1e3)) &&
	       table_add(table, keep_number(memory, row->runs)) &&
	       table_add(table, keep_ms(memory, (double)row->last_ns)) &&
	       table_add(table, keep_ms(memory, (double)row->max_ns)) &&
	       table_add(table, keep_number(memory, row->faults)) &&
	       table_add(table, keep_number(memory, row->lost)) &&
	       table_add(table, keep_number(memory, early_ends(row))) && !memory->out_of_memory;
}

// The state of a row that is used.
static bool is_used(const struct gs_mailbox_detector *row)
{
	return row->name[0] && row->state != GS_MAILBOX_EMPTY;
}

static struct gs_error *show(const struct host *host, bool json)
{
	static const struct table_column columns[] = {
		{ "DETECTOR", false }, { "STATE", false },  { "PERIOD/ms", true },
		{ "RUNS", true },      { "LAST/ms", true }, { "MAX/ms", true },
		{ "FAULTS", true },    { "LOST", true },    { "EARLY", true },
	};
	_cleanup_table_ struct table table = {
		.columns = columns,
		.column_count = ARRAY_SIZE(columns),
	};
	_cleanup_rows_ struct rows memory = {};
	struct json_object *array = json ? json_object_new_array() : NULL;
	struct gs_mailbox_heartbeat beat;
	struct gs_error *err = mailbox_read_heartbeat(host->reader, &beat);

	for (uint32_t i = 0; i < host->header->detector_count && !err; i++) {
		struct gs_mailbox_detector row;
		bool stalled = beat.stalled >> i & 1;

		err = mailbox_read_detector(host->reader, i, &row);
		if (err || !is_used(&row))
			continue;
		if (json)
			json_object_array_add(array, row_object(&row, stalled));
		else if (!add_row(&table, &memory, &row, stalled))
			err = &gs_enomem;
	}
	if (err)
		json_object_put(array);
	else if (json)
		json_print(array, true);
	else
		table_print(&table);
	return err;
}

struct gs_error *cmd_detectors(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	_cleanup_host_ struct host host = {};
	// Its operand is the host.
	struct gs_error *err = cli_getopt_none(&parser);

	if (err || parser.done)
		return err;
	err = grass_open(grass_of(cli), false, &host);
	return err ? err : show(&host, cli->json);
}
