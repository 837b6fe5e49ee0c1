// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/rows.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: $usage [-cx] [-l LEVELS] [-n COUNT] [--json]\n"
	"Print the kernel log from the printk ring buffer.\n"
	"\n"
	"  -c, --caller        the thread or CPU that wrote each message\n"
	"  -l, --level LEVELS  only these: emerg, alert, crit, err, warn, notice, info,\n"
	"                      debug; several with commas; 'warn+' is warn and worse\n"
	"  -n, --tail COUNT    only the last COUNT messages of those\n"
	"  -x, --decode        facility and level in words before each line\n"
	"  --json              an array of objects: seq, ts_ns, level, facility, cont,\n"
	"                      caller, text\n"
	"\n"
	"  $example --level err+\n"
	"  $example --tail 20\n";

// Linux include/linux/kern_levels.h and RFC 3164, 4.1.1; the words of dmesg(1).
static const char *const levels[] = { "emerg", "alert",	 "crit", "err",
				      "warn",  "notice", "info", "debug" };
static const char *const facilities[] = { "kern",     "user",	"mail",	  "daemon", "auth",
					  "syslog",   "lpr",	"news",	  "uucp",   "cron",
					  "authpriv", "ftp",	"res0",	  "res1",   "res2",
					  "res3",     "local0", "local1", "local2", "local3",
					  "local4",   "local5", "local6", "local7" };

static struct gs_error *parse_levels(const char *text, unsigned int *ret)
{
	unsigned int mask = 0;

	for (const char *p = text; *p;) {
		size_t len = strcspn(p, ","), i;
		bool worse = len && p[len - 1] == '+';
		size_t word = len - worse;

		for (i = 0; i < ARRAY_SIZE(levels); i++) {
			if (strlen(levels[i]) == word && !strncmp(p, levels[i], word))
				break;
		}
		if (i == ARRAY_SIZE(levels)) {
			return gs_error_create(GS_ERROR_USAGE,
					       "--level: no level '%.*s'; there are emerg, alert, "
					       "crit, err, warn, notice, info, debug",
					       (int)len, p);
		}
		mask |= worse ? (2u << i) - 1 : 1u << i;
		p += len;
		p += *p == ',';
	}
	if (!mask)
		return gs_error_create(GS_ERROR_USAGE, "--level needs at least one level");
	*ret = mask;
	return NULL;
}

// Like syslog(2), every line of a message bears the prefix (Linux kernel/printk/printk.c,
// record_print_text()).
static void print_message(struct rows *rows, const struct row *row, bool decode, bool callers)
{
	const struct gs_item *caller = callers ? row_item(row, "caller") : NULL;
	const struct gs_item *text = row_item(row, "text");
	uint64_t us = row_number(row, "ts_ns") / 1000;
	uint64_t level = row_number(row, "level") % ARRAY_SIZE(levels);
	uint64_t facility = row_number(row, "facility");
	const char *p = text && text->type == GS_ITEM_STRING ? text->string : "";
	size_t left = text && text->type == GS_ITEM_STRING ? text->length : 0;

	for (;;) {
		const char *newline = memchr(p, '\n', left);
		size_t len = newline ? (size_t)(newline - p) : left;

		if (decode && facility < ARRAY_SIZE(facilities))
			printf("%-6s:%-6s: ", facilities[facility], levels[level]);
		else if (decode)
			printf("%-6" PRIu64 ":%-6s: ", facility, levels[level]);
		printf("[%5" PRIu64 ".%06" PRIu64 "]", us / 1000000, us % 1000000);
		if (caller)
			printf("[%6s]", item_text(rows, caller));
		putchar(' ');
		text_print(stdout, p, len, true);
		putchar('\n');
		if (!newline)
			return;
		p += len + 1;
		left -= len + 1;
	}
}

// Keep the messages of @mask, of them the last @tail.
static void select_rows(struct rows *rows, unsigned int mask, uint64_t tail)
{
	size_t kept = 0;

	for (size_t i = 0; i < rows->count; i++) {
		if (mask & 1u << row_number(&rows->rows[i], "level") % ARRAY_SIZE(levels))
			rows->rows[kept++] = rows->rows[i];
	}
	if (kept > tail) {
		memmove(rows->rows, rows->rows + (kept - tail), tail * sizeof(*rows->rows));
		kept = tail;
	}
	rows->count = kept;
}

struct gs_error *cmd_dmesg(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "level", required_argument, NULL, 'l' },
		{ "tail", required_argument, NULL, 'n' },
		{ "decode", no_argument, NULL, 'x' },
		{ "caller", no_argument, NULL, 'c' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "cl:n:x", options, false };
	struct gs_error *err = NULL;
	unsigned int mask = ~0u;
	uint64_t tail = UINT64_MAX;
	bool decode = false, callers = false;
	int c;

	while (!err && (c = cli_getopt(&parser, &err)) != -1) {
		switch (c) {
		case 'l':
			err = parse_levels(optarg, &mask);
			break;
		case 'n':
			err = cli_number("--tail", optarg, 0, UINT32_MAX, &tail);
			break;
		case 'x':
			decode = true;
			break;
		case 'c':
			callers = true;
			break;
		}
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	if (err)
		return err;

	_cleanup_rows_ struct rows rows = {};

	err = cli->program->run_once(cli, "dmesg", &rows);
	if (err && err->code != GS_ERROR_INCOMPLETE)
		return err;
	select_rows(&rows, mask, tail);
	if (cli->json) {
		json_print_rows(&rows);
		return err;
	}
	for (size_t i = 0; i < rows.count; i++)
		print_message(&rows, &rows.rows[i], decode, callers);
	return err;
}
