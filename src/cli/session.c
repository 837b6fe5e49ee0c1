// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#include "cli/search.h"
#include "util/array.h"
#include "util/cleanup.h"

struct gs_error *cli_open_target(struct cli *cli)
{
	if (cli->target)
		return NULL;
	if (!cli->target_spec) {
		return gs_error_create(
			GS_ERROR_USAGE,
			"%s needs a target: -t qemu:GUEST, -t qemu:/path/to/qmp.sock "
			"or -t core:FILE",
			cli->command);
	}

	struct gs_target_options options = { .size = sizeof(options), .layout = cli->layout };

	return gs_target_open(cli->target_spec, &options, &cli->target);
}

struct gs_error *cli_open_kernel(struct cli *cli)
{
	if (cli->kernel)
		return NULL;

	struct gs_error *err = cli_open_target(cli);

	if (err)
		return err;

	struct gs_kernel_options options = {
		.size = sizeof(options),
		.system_map = cli->system_map,
	};

	return gs_kernel_open(cli->target, &options, &cli->kernel);
}

struct gs_error *cli_open_engine(struct cli *cli)
{
	if (cli->engine)
		return NULL;

	struct gs_error *err = cli_open_kernel(cli);

	if (err)
		return err;
	// A look at a kernel is over before a GPU has been taken into use.
	return gs_engine_create(cli->engine_name ? cli->engine_name : "cpu", cli->kernel,
				&cli->engine);
}

void cli_close(struct cli *cli)
{
	gs_engine_destroy(cli->engine);
	// Detectors run the code of their file until the engine has ended.
	for (size_t i = 0; i < cli->fat_count; i++)
		gs_fat_close(cli->fats[i]);
	free(cli->fats);
	gs_kernel_close(cli->kernel);
	gs_target_close(cli->target);
	*cli = (struct cli){ .program = cli->program };
}

struct gs_error *cli_open_fat(struct cli *cli, const char *path, struct gs_fat **ret)
{
	struct gs_fat *fat;
	struct gs_error *err = gs_fat_open(path, &fat);

	if (err)
		return err;
	if (!gs_array_push(cli->fats, cli->fat_count, cli->fat_capacity, fat)) {
		gs_fat_close(fat);
		return &gs_enomem;
	}
	*ret = fat;
	return NULL;
}

void cli_close_fat(struct cli *cli, struct gs_fat *fat)
{
	for (size_t i = 0; i < cli->fat_count; i++) {
		if (cli->fats[i] == fat) {
			cli->fats[i] = cli->fats[--cli->fat_count];
			gs_fat_close(fat);
			return;
		}
	}
}

struct gs_error *cli_add(struct cli *cli, struct gs_fat *fat, size_t index,
			 struct gs_detector_options *options, struct gs_detector **ret)
{
	struct gs_error *err = cli_open_engine(cli);

	options->size = sizeof(*options);
	options->budget = cli->budget;
	return err ? err : gs_engine_add(cli->engine, fat, index, options, ret);
}

static void collect(void *arg, const struct gs_record *record)
{
	if (record->kind == GS_RECORD_ROW)
		rows_add(arg, record);
}

struct gs_error *cli_run_once(struct cli *cli, const char *name, struct rows *rows)
{
	// First the target: its problem is the more likely one, and the message is about what was typed.
	struct gs_error *err = cli_open_engine(cli);

	if (err)
		return err;

	_cleanup_free_ char *path = NULL;
	struct gs_fat *fat;
	size_t index;
	struct gs_detector_options options = {};
	struct gs_detector *detector;

	err = search_detector(cli, name, &path);
	if (err)
		return err;
	err = cli_open_fat(cli, path, &fat);
	if (err)
		return err;
	err = search_in_fat(fat, name, path, &index);
	if (err)
		return err;
	err = cli_add(cli, fat, index, &options, &detector);
	if (err)
		return err;
	err = gs_detector_run(detector, collect, rows);
	if (rows->out_of_memory) {
		gs_error_destroy(err);
		return &gs_enomem;
	}
	return err;
}
