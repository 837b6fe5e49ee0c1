// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/params.h"
#include "cli/text.h"
#include "grass_cli/grass.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: grass params HOST [-p DETECTOR.NAME=VALUE]... [--json]\n"
	"Show the parameters of the host's detectors, such as the thresholds of their\n"
	"findings, or set some while they run: the next run goes by them.\n"
	"\n"
	"  -p, --param DETECTOR.NAME=VALUE\n"
	"             set it; may be given more than once\n"
	"  --json     an array of objects\n"
	"\n"
	"  grass params web1\n"
	"  grass params web1 -p memory.warn_percent=20\n";

// A parameter of a row of the detector table.
struct found {
	const struct gs_mailbox_detector *row;
	uint32_t index, number;
	// "limit_ms: milliseconds that ...", of which the name is so long.
	const char *text;
	int name_size;
};

typedef struct gs_error *found_fn(void *arg, const struct found *found);

static struct gs_error *each_of_row(const struct host *host, uint32_t index,
				    const struct gs_mailbox_detector *row, found_fn *fn, void *arg)
{
	_cleanup_free_ struct gs_mailbox_formats *formats = NULL;
	struct found found = { .row = row, .index = index };
	struct gs_error *err = mailbox_read_formats(host->reader, index, row, &formats);

	for (uint32_t i = 0; !err && formats && i < formats->count; i++) {
		const struct gs_mailbox_format *entry = &formats->entries[i];

		if (entry->kind != GS_FORMAT_PARAM)
			continue;
		// One whose name did not fit has a number all the same.
		if (entry->offset) {
			found.text = (const char *)formats + entry->offset;
			found.name_size = (int)strcspn(found.text, ":");
			err = fn(arg, &found);
		}
		found.number++;
	}
	return err;
}

static struct gs_error *each(const struct host *host, found_fn *fn, void *arg)
{
	struct gs_error *err = NULL;

	for (uint32_t i = 0; i < host->header->detector_count && !err; i++) {
		struct gs_mailbox_detector row;

		err = mailbox_read_detector(host->reader, i, &row);
		if (!err && host_runs(&row))
			err = each_of_row(host, i, &row, fn, arg);
	}
	return err;
}

struct showing {
	const struct host *host;
	// Of those that are set: the one of which it is the turn, and whether it was found. NULL: all are shown.
	const struct param *param;
	bool seen;
	// NULL: text.
	struct json_object *array;
};

static void show_json(const struct showing *showing, const struct found *found, uint64_t before,
		      uint64_t value)
{
	struct json_object *object = json_object_new_object();
	const char *description = found->text + found->name_size;
	_cleanup_free_ char *name = strndup(found->text, (size_t)found->name_size);

	json_add_string(object, "detector", found->row->name);
	json_add_string(object, "name", name);
	json_add_number(object, "value", value);
	if (showing->param)
		json_add_number(object, "before", before);
	json_add_string(object, "description",
			!strncmp(description, ": ", 2) ? description + 2 : description);
	json_object_array_add(showing->array, object);
}

static void show_text(const struct showing *showing, const struct found *found, uint64_t before,
		      uint64_t value)
{
	text_print(stdout, found->row->name, strlen(found->row->name), false);
	putchar('.');
	text_print(stdout, found->text, (size_t)found->name_size, false);
	if (showing->param) {
		printf("=%" PRIu64 " (was %" PRIu64 ")\n", value, before);
		return;
	}
	printf("=%" PRIu64, value);
	text_print(stdout, found->text + found->name_size,
		   strlen(found->text) - (size_t)found->name_size, false);
	putchar('\n');
}

static bool is_meant(const struct param *param, const struct found *found)
{
	return !strcmp(param->detector, found->row->name) &&
	       strlen(param->name) == (size_t)found->name_size &&
	       !memcmp(param->name, found->text, (size_t)found->name_size);
}

static struct gs_error *show(void *arg, const struct found *found)
{
	struct showing *showing = arg;
	const struct param *param = showing->param;
	uint64_t before, value;

	if (param && !is_meant(param, found))
		return NULL;
	showing->seen = true;

	struct gs_error *err = mailbox_client_param(showing->host->client, found->index,
						    found->row->generation, found->number, param,
						    param ? param->value : 0, &before, &value);

	if (err)
		return err;
	if (showing->array)
		show_json(showing, found, before, value);
	else
		show_text(showing, found, before, value);
	return NULL;
}

static struct gs_error *set_each(const struct params *params, struct showing *showing)
{
	struct gs_error *err = NULL;

	for (size_t i = 0; i < params->count && !err; i++) {
		const struct param *param = &params->list[i];

		showing->param = param;
		showing->seen = false;
		err = each(showing->host, show, showing);
		if (!err && !showing->seen)
			err = gs_error_create(GS_ERROR_DETECTOR, "%s has no parameter %s.%s",
					      showing->host->address->name, param->detector,
					      param->name);
	}
	return err;
}

static struct gs_error *run(struct cli *cli, const struct params *params)
{
	_cleanup_host_ struct host host = {};
	struct showing showing = { .host = &host };
	struct gs_error *err = grass_open(grass_of(cli), false, &host);

	if (err)
		return err;
	if (cli->json)
		showing.array = json_object_new_array();
	err = params->count ? set_each(params, &showing) : each(&host, show, &showing);
	if (err)
		json_object_put(showing.array);
	else if (showing.array)
		json_print(showing.array, true);
	return err;
}

struct gs_error *cmd_params(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "param", required_argument, NULL, 'p' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "p:", options, false };
	struct params params = {};
	struct gs_error *err = NULL;

	while (!err && cli_getopt(&parser, &err) != -1)
		err = params_parse(&params, optarg);
	if (!err && !parser.done)
		err = cli_no_operands(&parser);
	if (!err && !parser.done)
		err = run(cli, &params);
	params_deinit(&params);
	return err;
}
