// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/rows.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: $usage [--json]\n"
	"Memory use from the kernel's own counters, as its /proc/meminfo shows it.\n"
	"\n"
	"  --json    one object: \"MemTotal\": 507912, ...; in kB but for HugePages_*\n"
	"\n"
	"  $example\n"
	"  $example --json | jq .MemAvailable\n";

static void print_meminfo(struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		for (size_t j = 0; j < rows->rows[i].count; j++) {
			const struct gs_item *item = &rows->rows[i].items[j];
			int pad = 15 - (int)strnlen(item->name, 15);
			// These count pages of any size (Linux mm/hugetlb.c, hugetlb_report_meminfo()).
			bool pages = !strncmp(item->name, "HugePages_", 10);

			printf("%s:%*s%8s%s\n", item->name, pad, "", item_text(rows, item),
			       pages ? "" : " kB");
		}
	}
}

static void print_object(const struct rows *rows)
{
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; i < rows->count; i++) {
		for (size_t j = 0; j < rows->rows[i].count; j++)
			json_add_item(object, &rows->rows[i].items[j]);
	}
	json_print(object, true);
}

struct gs_error *cmd_mem(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct gs_error *err = cli_getopt_none(&parser);

	if (err || parser.done)
		return err;

	_cleanup_rows_ struct rows rows = {};

	err = cli->program->run_once(cli, "memory", &rows);
	if (err && err->code != GS_ERROR_INCOMPLETE)
		return err;
	if (cli->json)
		print_object(&rows);
	else
		print_meminfo(&rows);
	return err;
}
