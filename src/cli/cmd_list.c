// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/search.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: gpusentinel [-t TARGET] list [OPTION]... [DETECTOR...|FILE.so...]\n"
	"Show detectors: those that are shipped, or the given ones; and their parameters,\n"
	"which `gpusentinel run -p` sets.\n"
	"\n"
	"  -l, --long   also the budget of loop iterations (0: the engine's), what is\n"
	"               asked of the kernel (fields, symbols), bytes of GPU code, file\n"
	"  --residency  also what each occupies on the GPU beside its blocks and threads:\n"
	"               registers of a thread, bytes of shared memory of a block and of\n"
	"               local memory of a thread, GPU memory; - without a GPU to ask\n"
	"  --json       an array of objects\n"
	"  -t TARGET    also whether each detector's fields and symbols are in that\n"
	"               kernel, or what it lacks\n"
	"\n"
	"  gpusentinel list\n"
	"  gpusentinel -t qemu:web list ./mine.so\n";

// When a column is there.
enum { ALWAYS, RESIDENCY, LONG, SHORT, TARGET };

static const struct {
	struct table_column column;
	int when;
} all_columns[] = {
	{ { "NAME", false }, ALWAYS },	      { { "PERIOD", true }, ALWAYS },
	{ { "BLOCKS", true }, ALWAYS },	      { { "THREADS", true }, ALWAYS },
	{ { "REGISTERS", true }, RESIDENCY }, { { "SHARED", true }, RESIDENCY },
	{ { "LOCAL", true }, RESIDENCY },     { { "GPU MEMORY", true }, RESIDENCY },
	{ { "BUDGET", true }, LONG },	      { { "FIELDS", true }, LONG },
	{ { "SYMBOLS", true }, LONG },	      { { "PTX", true }, LONG },
	{ { "FITS", false }, TARGET },	      { { "FILE", false }, LONG },
	{ { "DESCRIPTION", false }, SHORT },
};

static const struct table_column param_columns[] = {
	{ "PARAMETER", false },
	{ "DEFAULT", true },
	{ "DESCRIPTION", false },
};

// Where a list is collected; strings live in rows, errors until they are printed.
struct listing {
	struct cli *cli;
	bool all, residency;
	// NULL: there is none to ask.
	struct gs_gpu *gpu;
	struct rows memory;
	struct table table, params;
	struct json_object *array;
};

static const char *keep_formatted(struct listing *listing, const char *format, uint64_t value)
	__attribute__((format(printf, 2, 0)));

static const char *keep_formatted(struct listing *listing, const char *format, uint64_t value)
{
	char *text = rows_alloc(&listing->memory, TEXT_NUMBER_MAX);

	if (!text)
		return "";
	snprintf(text, TEXT_NUMBER_MAX, format, value);
	return text;
}

static const char *keep_period(struct listing *listing, uint32_t us)
{
	char *text = rows_alloc(&listing->memory, TEXT_NUMBER_MAX);

	if (!text)
		return "";
	snprintf(text, TEXT_NUMBER_MAX, "%.10g ms", us / 1000.0);
	return text;
}

static const char *keep_escaped(struct listing *listing, const char *s)
{
	struct gs_item item = { .type = GS_ITEM_STRING, .string = s, .length = strlen(s) };

	return item_text(&listing->memory, &item);
}

// @residency: NULL: not known.
static bool list_residency(struct listing *listing, const struct gs_residency *residency)
{
	struct table *table = &listing->table;

	if (!residency)
		return table_add(table, "-") && table_add(table, "-") && table_add(table, "-") &&
		       table_add(table, "-");
	return table_add(table, keep_formatted(listing, "%" PRIu64, residency->registers)) &&
	       table_add(table, keep_formatted(listing, "%" PRIu64, residency->shared_bytes)) &&
	       table_add(table, keep_formatted(listing, "%" PRIu64, residency->local_bytes)) &&
	       table_add(table, keep_formatted(listing, "%" PRIu64 " KiB",
					       (residency->memory_bytes + 1023) >> 10));
}

static bool list_row(struct listing *listing, const struct gs_detector_info *info,
		     const struct gs_residency *residency, const struct gs_error *unfit)
{
	struct table *table = &listing->table;
	bool ok = table_add(table, keep_escaped(listing, info->name)) &&
		  table_add(table, keep_period(listing, info->period_us)) &&
		  table_add(table, keep_formatted(listing, "%" PRIu64, info->blocks)) &&
		  table_add(table, keep_formatted(listing, "%" PRIu64, info->threads));

	if (listing->residency)
		ok = ok && list_residency(listing, residency);
	if (listing->all) {
		ok = ok && table_add(table, keep_formatted(listing, "%" PRIu64, info->budget)) &&
		     table_add(table, keep_formatted(listing, "%" PRIu64, info->fields)) &&
		     table_add(table, keep_formatted(listing, "%" PRIu64, info->symbols)) &&
		     table_add(table, keep_formatted(listing, "%" PRIu64, info->ptx_size));
	}
	if (listing->cli->target_spec)
		ok = ok && table_add(table, unfit ? "no" : "yes");
	return ok && table_add(table, keep_escaped(listing,
						   listing->all ? info->file : info->description));
}

static bool list_params(struct listing *listing, const struct gs_fat *fat, const char *detector)
{
	struct table *table = &listing->params;
	bool ok = true;

	for (size_t i = 0; ok && i < gs_fat_param_count(fat); i++) {
		struct gs_param_info param;
		_cleanup_free_ char *name = NULL;

		gs_fat_param_info(fat, i, &param);
		ok = asprintf(&name, "%s.%s", detector, param.name) >= 0 &&
		     table_add(table, keep_escaped(listing, name)) &&
		     table_add(table, keep_formatted(listing, "%" PRIu64, param.value)) &&
		     table_add(table, keep_escaped(listing, param.description));
	}
	return ok;
}

static struct json_object *param_objects(const struct gs_fat *fat)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < gs_fat_param_count(fat); i++) {
		struct json_object *object = json_object_new_object();
		struct gs_param_info param;

		gs_fat_param_info(fat, i, &param);
		json_add_string(object, "name", param.name);
		json_add_number(object, "default", param.value);
		json_add_string(object, "description", param.description);
		json_object_array_add(array, object);
	}
	return array;
}

static void add_known(struct json_object *object, const char *key, bool known, uint64_t value)
{
	if (known)
		json_add_number(object, key, value);
	else
		json_object_object_add(object, key, NULL);
}

static void list_object(struct listing *listing, const struct gs_fat *fat,
			const struct gs_detector_info *info, const struct gs_residency *residency,
			const struct gs_error *unfit)
{
	struct json_object *object = json_object_new_object();
	const struct gs_residency unknown = {}, *known = residency ? residency : &unknown;

	json_add_string(object, "name", info->name);
	json_add_string(object, "description", info->description);
	json_add_string(object, "file", info->file);
	json_add_number(object, "period_us", info->period_us);
	json_add_number(object, "blocks", info->blocks);
	json_add_number(object, "threads", info->threads);
	add_known(object, "registers", residency, known->registers);
	add_known(object, "shared_bytes", residency, known->shared_bytes);
	add_known(object, "local_bytes", residency, known->local_bytes);
	add_known(object, "gpu_memory_bytes", residency, known->memory_bytes);
	json_add_number(object, "budget", info->budget);
	json_add_number(object, "fields", info->fields);
	json_add_number(object, "symbols", info->symbols);
	json_add_number(object, "ptx_size", info->ptx_size);
	json_object_object_add(object, "params", param_objects(fat));
	if (listing->cli->target_spec) {
		json_add_bool(object, "fits", !unfit);
		json_add_string(object, "lacks", unfit ? unfit->message : NULL);
	}
	json_object_array_add(listing->array, object);
}

// False: not known. What the driver does not compile is news, as what does not fit.
static bool ask_gpu(struct listing *listing, const struct gs_fat *fat, size_t index,
		    struct gs_residency *ret)
{
	_cleanup_error_ struct gs_error *err = NULL;

	if (!listing->gpu)
		return false;
	err = gs_gpu_residency(listing->gpu, fat, index, ret);
	if (err)
		cli_print_error(err);
	return !err;
}

// List the detectors of one file. What does not fit the target is news, not failure.
static struct gs_error *list_file(struct listing *listing, const char *path, const char *only)
{
	struct cli *cli = listing->cli;
	struct gs_fat *fat;
	struct gs_error *err = cli_open_fat(cli, path, &fat);

	if (err)
		return err;
	for (size_t i = 0; i < gs_fat_detector_count(fat); i++) {
		struct gs_detector_info info;
		struct gs_residency residency;
		struct gs_detector_options options = {};
		struct gs_detector *detector;
		_cleanup_error_ struct gs_error *unfit = NULL;

		gs_fat_detector_info(fat, i, &info);
		if (only && strcmp(only, info.name))
			continue;
		if (cli->target_spec) {
			unfit = cli_add(cli, fat, i, &options, &detector);
			if (unfit && unfit->code != GS_ERROR_DETECTOR)
				return no_cleanup_ptr(unfit);
			if (unfit)
				cli_print_error(unfit);
		}

		const struct gs_residency *known =
			ask_gpu(listing, fat, i, &residency) ? &residency : NULL;

		if (cli->json)
			list_object(listing, fat, &info, known, unfit);
		else if (!list_row(listing, &info, known, unfit) ||
			 !list_params(listing, fat, info.name))
			return &gs_enomem;
	}
	return NULL;
}

static struct gs_error *list_named(struct listing *listing, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct gs_error *err = search_detector(listing->cli, name, &path);

	if (err)
		return err;
	return list_file(listing, path, search_is_path(name) ? NULL : name);
}

// Of the shipped files a damaged one must not hide the others: its error comes last.
static struct gs_error *list_shipped(struct listing *listing)
{
	char **paths;
	size_t count;
	struct gs_error *err = search_all(listing->cli, &paths, &count), *first = NULL;

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		err = list_file(listing, paths[i], NULL);
		if (err && first) {
			cli_print_error(err);
			gs_error_destroy(err);
		} else if (err) {
			first = err;
		}
		if (first && first->code != GS_ERROR_DETECTOR)
			break;
	}
	search_free(paths, count);
	return first;
}

static void start_table(struct listing *listing, struct table_column *columns)
{
	const bool there[] = { [ALWAYS] = true,
			       [RESIDENCY] = listing->residency,
			       [LONG] = listing->all,
			       [SHORT] = !listing->all,
			       [TARGET] = listing->cli->target_spec };

	for (size_t i = 0; i < ARRAY_SIZE(all_columns); i++) {
		if (there[all_columns[i].when])
			columns[listing->table.column_count++] = all_columns[i].column;
	}
	listing->table.columns = columns;
}

// A machine without a GPU has detectors to list all the same.
static void open_gpu(struct listing *listing)
{
	const char *engine = listing->cli->engine_name;

	if (engine && !strcmp(engine, "cpu"))
		return;

	_cleanup_error_ struct gs_error *err = gs_gpu_open(&listing->gpu);

	if (err)
		cli_print_error(err);
}

struct gs_error *cmd_list(struct cli *cli, int argc, char **argv)
{
	enum { RESIDENCY_OPTION = CLI_OPTION_COMMAND };
	static const struct option options[] = {
		{ "long", no_argument, NULL, 'l' },
		{ "residency", no_argument, NULL, RESIDENCY_OPTION },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "l", options, false };
	struct listing listing = { .cli = cli };
	struct table_column columns[ARRAY_SIZE(all_columns)];
	struct gs_error *err = NULL;
	int c;

	while ((c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'l')
			listing.all = true;
		else
			listing.residency = true;
	}
	if (err || parser.done)
		return err;
	if (cli->target_spec) {
		err = cli_open_engine(cli);
		if (err)
			return err;
	}
	if (listing.residency)
		open_gpu(&listing);
	start_table(&listing, columns);
	listing.params.columns = param_columns;
	listing.params.column_count = ARRAY_SIZE(param_columns);
	listing.array = cli->json ? json_object_new_array() : NULL;
	if (optind == argc)
		err = list_shipped(&listing);
	for (int i = optind; i < argc && !err; i++)
		err = list_named(&listing, argv[i]);
	if (cli->json)
		json_print(listing.array, true);
	else if (listing.table.cell_count)
		table_print(&listing.table);
	if (listing.params.cell_count) {
		putchar('\n');
		table_print(&listing.params);
	}
	gs_gpu_close(listing.gpu);
	table_deinit(&listing.params);
	table_deinit(&listing.table);
	rows_deinit(&listing.memory);
	return err;
}
