// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>

#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/text.h"
#include "grass_cli/dump.h"
#include "grass_cli/grass.h"

static const char help[] =
	"Usage: grass dump HOST -o FILE [--force] [--json]\n"
	"Write the host's memory into an ELF vmcore, for crash, drgn and gpusentinel -t\n"
	"core:FILE.\n"
	"\n"
	"  -o, --output FILE   where to\n"
	"  -f, --force         replace FILE if it exists, and begin anew\n"
	"  --json              what was written, as an object\n"
	"\n"
	"While it is not complete it is called FILE.part. If the link breaks, it is made\n"
	"anew; if that fails too, or at ^C, the same command goes on where the last one\n"
	"ended. Pages that the host never used stay holes of the file. A living host\n"
	"writes on meanwhile: pages that changed while they were read are counted.\n"
	"\n"
	"  grass dump web1 -o web1.vmcore\n"
	"  gpusentinel -t core:web1.vmcore ps\n";

static void print_json(const char *path, const struct dump_result *result)
{
	struct json_object *object = json_object_new_object();

	json_add_string(object, "file", path);
	json_add_number(object, "size", result->size);
	json_add_number(object, "written", result->written);
	json_add_number(object, "segments", result->segments);
	json_add_number(object, "unreadable", result->unreadable);
	json_add_number(object, "torn", result->torn);
	json_add_number(object, "resumed", result->resumed);
	json_add_number(object, "reconnected", result->reconnected);
	json_add_number(object, "time_ns", result->time_ns);
	json_print(object, true);
}

static void print_text(const char *path, const struct dump_result *result)
{
	char size[TEXT_NUMBER_MAX], written[TEXT_NUMBER_MAX], resumed[TEXT_NUMBER_MAX];

	text_size(size, result->size);
	text_size(written, result->written);
	text_size(resumed, result->resumed);
	printf("%s: %s in %" PRIu32 " segment%s, %s written, the rest are holes", path, size,
	       result->segments, result->segments == 1 ? "" : "s", written);
	if (result->unreadable)
		printf("; %" PRIu64 " pages were not there to be read", result->unreadable);
	if (result->torn)
		printf("; %" PRIu64 " pages changed while they were read", result->torn);
	if (result->resumed)
		printf("; %s were there already", resumed);
	if (result->reconnected)
		printf("; the link broke %" PRIu32 " time%s", result->reconnected,
		       result->reconnected == 1 ? "" : "s");
	putchar('\n');
}

struct gs_error *cmd_memory_dump(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "force", no_argument, NULL, 'f' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "o:f", options, false };
	struct grass *grass = grass_of(cli);
	struct dump_options wanted = {};
	struct dump_result result;
	_cleanup_host_ struct host host = {};
	struct gs_error *err = NULL;
	int c;

	while ((c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'o')
			wanted.path = optarg;
		else
			wanted.force = true;
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	if (!err && (!wanted.path || !*wanted.path))
		err = gs_error_create(GS_ERROR_USAGE, "dump needs a file to write: -o FILE");
	if (err)
		return err;
	wanted.stop = interrupt_catch();
	err = grass_open(grass, false, &host);
	if (!err)
		err = dump_host(&host, &grass->options, &wanted, &result);
	if (err)
		return err;
	if (cli->json)
		print_json(wanted.path, &result);
	else
		print_text(wanted.path, &result);
	return NULL;
}
