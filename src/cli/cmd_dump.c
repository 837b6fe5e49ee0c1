// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/vmcore.h"

static const char help[] =
	"Usage: gpusentinel -t TARGET dump -o FILE [--force] [--json]\n"
	"Write the memory of the target into an ELF vmcore, which drgn, crash and\n"
	"gpusentinel itself (-t core:FILE) open. Pages that the machine never used are\n"
	"holes of the file. A machine that runs changes meanwhile: freeze it if the\n"
	"copy must be of one moment.\n"
	"\n"
	"  -o, --output FILE  where to; FILE appears when it is complete\n"
	"  -f, --force        replace FILE if it exists\n"
	"  --json             an object: file, size, written, pages, segments\n"
	"\n"
	"  gpusentinel -t qemu:web dump -o web.vmcore\n"
	"  gpusentinel -t core:web.vmcore ps\n";

static void print_result(const char *path, const struct vmcore_result *result, bool json)
{
	char size[TEXT_NUMBER_MAX], written[TEXT_NUMBER_MAX];

	if (json) {
		struct json_object *object = json_object_new_object();

		json_add_string(object, "file", path);
		json_add_number(object, "size", result->size);
		json_add_number(object, "written", result->written);
		json_add_number(object, "pages", result->pages);
		json_add_number(object, "segments", result->segments);
		json_print(object, true);
		return;
	}
	text_size(size, result->size);
	text_size(written, result->written);
	printf("%s: %s in %" PRIu32 " segment%s, %" PRIu64
	       " bytes (%s) written, the rest are holes\n",
	       path, size, result->segments, result->segments == 1 ? "" : "s", result->written,
	       written);
}

struct gs_error *cmd_dump(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "force", no_argument, NULL, 'f' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "o:f", options, false };
	struct gs_error *err = NULL;
	const char *path = NULL;
	bool force = false;
	int c;

	while ((c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'o')
			path = optarg;
		else
			force = true;
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	if (err)
		return err;
	if (!path || !*path)
		return gs_error_create(GS_ERROR_USAGE, "dump needs a file to write: -o FILE");
	err = cli_open_kernel(cli);
	if (err)
		return err;

	struct vmcore_result result;

	err = vmcore_write(cli->kernel, path, force, interrupt_catch(), &result);
	if (!err)
		print_result(path, &result, cli->json);
	return err;
}
