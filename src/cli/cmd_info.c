// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/text.h"
#include "util/cleanup.h"

static const char help[] =
	"Usage: gpusentinel -t TARGET info [--json]\n"
	"What the memory says about its kernel: where it lies, how it was understood, and\n"
	"how it fares (the detector 'system': uptime, load, panic, taint).\n"
	"\n"
	"  --json    one object; addresses are strings \"0x...\", sizes are in bytes\n"
	"\n"
	"  gpusentinel -t qemu:web info\n"
	"  gpusentinel -t core:ram.img --layout 0:1G info\n";

// All that is shown; the modules and the system's rows may have failed each.
struct info {
	const char *target, *release;
	// What 'run' would choose, and why.
	const char *engine;
	char *engine_why;
	struct gs_kernel_facts facts;
	const struct gs_map *map;
	size_t segments, modules;
	uint64_t bytes, present_pages;
	bool has_modules;
	struct rows system;
};

// Extents of present pages would tell it in fewer steps, but the target counts them when it scans.
static void measure_memory(struct gs_target *target, struct info *info)
{
	const struct gs_segment *segments = gs_target_segments(target, &info->segments);

	for (size_t i = 0; i < info->segments; i++)
		info->bytes += segments[i].size;
	info->present_pages = gs_target_scan(target);
}

static void line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *label, const char *format, ...)
{
	va_list args;

	printf("%-17s ", label);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void address_line(const char *label, uint64_t address)
{
	if (address)
		line(label, "0x%016" PRIx64, address);
}

static void print_memory(const struct info *info)
{
	char size[TEXT_NUMBER_MAX], pages[TEXT_NUMBER_MAX], present[TEXT_NUMBER_MAX];

	text_size(size, info->bytes);
	text_size(present, info->present_pages << GS_PAGE_SHIFT);
	text_grouped(pages, info->present_pages);
	line("memory", "%s in %zu segment%s; %s (%s pages) in use or used before", size,
	     info->segments, info->segments == 1 ? "" : "s", present, pages);
}

// A row of the system: times for people, and the release not once more.
static void print_item(struct rows *rows, const struct gs_item *item)
{
	size_t len = strlen(item->name);
	char label[64], duration[TEXT_NUMBER_MAX];

	if (!strcmp(item->name, "release"))
		return;
	if (len > 3 && !strcmp(item->name + len - 3, "_ns") && item->type == GS_ITEM_UINT) {
		snprintf(label, sizeof(label), "%.*s", (int)len - 3, item->name);
		text_duration(duration, item->u);
		line(label, "%s", duration);
		return;
	}
	line(item->name, "%s", item_text(rows, item));
}

static void print_text(struct info *info)
{
	const struct gs_kernel_facts *facts = &info->facts;
	char buf[TEXT_NUMBER_MAX];

	fputs("target            ", stdout);
	text_print(stdout, info->target, strlen(info->target), false);
	fputs("\nrelease           ", stdout);
	text_print(stdout, info->release, strlen(info->release), false);
	putchar('\n');
	print_memory(info);
	line("page tables", "%u levels, root at physical 0x%" PRIx64, info->map->levels,
	     info->map->root_phys);
	line("KASLR offset", "0x%" PRIx64, facts->kaslr_offset);
	line("VMCOREINFO", "%" PRIu32 " bytes at physical 0x%" PRIx64, facts->note_size,
	     facts->note_phys);
	text_grouped(buf, facts->symbols);
	line("kallsyms", "%s symbols, %s addresses, tables %s", buf, facts->kallsyms_encoding,
	     facts->kallsyms_named ? "named by VMCOREINFO" : "found by their structure");
	if (facts->btf_size) {
		text_size(buf, facts->btf_size);
		line("BTF", "%s", buf);
	} else {
		line("BTF", "none: detectors cannot be resolved");
	}
	if (info->has_modules)
		line("modules", "%zu", info->modules);
	line("possible CPUs", "%" PRIu32, facts->cpus);
	if (info->engine_why)
		line("engine", "%s: %s", info->engine, info->engine_why);
	address_line("direct map", facts->page_offset_base);
	address_line("vmalloc", facts->vmalloc_base);
	address_line("vmemmap", facts->vmemmap_base);
	for (size_t i = 0; i < info->system.count; i++) {
		for (size_t j = 0; j < info->system.rows[i].count; j++)
			print_item(&info->system, &info->system.rows[i].items[j]);
	}
}

// A base that the kernel does not have is null, as no address is 0.
static void add_base(struct json_object *object, const char *name, uint64_t base)
{
	if (base)
		json_add_hex(object, name, base);
	else
		json_object_object_add(object, name, NULL);
}

static void print_object(const struct info *info)
{
	const struct gs_kernel_facts *facts = &info->facts;
	struct json_object *object = json_object_new_object(), *system = NULL;

	json_add_string(object, "target", info->target);
	json_add_string(object, "release", info->release);
	json_add_number(object, "memory_bytes", info->bytes);
	json_add_number(object, "segments", info->segments);
	json_add_number(object, "present_pages", info->present_pages);
	json_add_number(object, "page_table_levels", info->map->levels);
	json_add_hex(object, "page_table_root", info->map->root_phys);
	json_add_hex(object, "kaslr_offset", facts->kaslr_offset);
	json_add_hex(object, "vmcoreinfo_address", facts->note_phys);
	json_add_number(object, "vmcoreinfo_bytes", facts->note_size);
	json_add_number(object, "symbols", facts->symbols);
	json_add_string(object, "kallsyms_encoding", facts->kallsyms_encoding);
	json_add_bool(object, "kallsyms_named", facts->kallsyms_named);
	json_add_number(object, "btf_bytes", facts->btf_size);
	if (info->has_modules)
		json_add_number(object, "modules", info->modules);
	else
		json_object_object_add(object, "modules", NULL);
	json_add_number(object, "cpus", facts->cpus);
	json_add_string(object, "engine", info->engine);
	json_add_string(object, "engine_why", info->engine_why);
	add_base(object, "direct_map", facts->page_offset_base);
	add_base(object, "vmalloc", facts->vmalloc_base);
	add_base(object, "vmemmap", facts->vmemmap_base);
	if (info->system.count)
		system = json_object_new_object();
	for (size_t i = 0; i < info->system.count; i++) {
		for (size_t j = 0; j < info->system.rows[i].count; j++)
			json_add_item(system, &info->system.rows[i].items[j]);
	}
	json_object_object_add(object, "system", system);
	json_print(object, true);
}

// The later error gives way: it may well follow from the first.
static void keep_first(struct gs_error **first, struct gs_error *err)
{
	if (!*first) {
		*first = err;
		return;
	}
	cli_print_error(err);
	gs_error_destroy(err);
}

struct gs_error *cmd_info(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct gs_error *err = cli_getopt_none(&parser);

	if (err || parser.done)
		return err;
	err = cli_open_kernel(cli);
	if (err)
		return err;

	struct info info = {
		.target = cli->target_spec,
		.release = gs_kernel_release(cli->kernel),
		.map = gs_kernel_map(cli->kernel),
	};
	_cleanup_free_ struct gs_module *modules = NULL;

	gs_kernel_facts(cli->kernel, &info.facts);
	measure_memory(cli->target, &info);
	err = gs_kernel_modules(cli->kernel, &modules, &info.modules);
	info.has_modules = !err || err->code == GS_ERROR_INCOMPLETE;

	struct gs_error *system_err = cli_run_once(cli, "system", &info.system);

	if (system_err)
		keep_first(&err, system_err);

	struct gs_error *engine_err =
		gs_engine_describe(cli->engine_name, &info.engine, &info.engine_why);

	if (engine_err)
		keep_first(&err, engine_err);
	if (cli->json)
		print_object(&info);
	else
		print_text(&info);
	free(info.engine_why);
	rows_deinit(&info.system);
	return err;
}
