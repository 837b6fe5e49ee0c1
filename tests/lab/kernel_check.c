// SPDX-License-Identifier: Apache-2.0
// Does the kernel in a target describe itself as it does to its own users?
//
//	kernel_check SPEC [--layout L] [--kallsyms FILE] [--btf FILE] [--system-map FILE] [--time]
//
// --kallsyms: the guest's /proc/kallsyms, read as root with kptr_restrict 0. Every symbol of the
// image must be equal in name, type, address and order, every symbol of a module in name and
// address; both by the named tables and by structural search. --btf: the guest's
// /sys/kernel/btf/vmlinux, which must be equal byte for byte. Prints "ok" lines and facts; the exit
// status is the number of checks that failed.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <bpf/btf.h>
#include <gpusentinel/kernel_info.h>

#include "kernel/kernel.h"
#include "kernel/layout.h"
#include "util/cleanup.h"

static int failures;

static void report(bool ok, const char *what)
{
	printf("%s %s\n", ok ? "ok" : "NOT OK", what);
	failures += !ok;
}

static void report_error(struct gs_error *err, const char *what)
{
	printf("NOT OK %s: %s\n", what, err->message);
	failures++;
	gs_error_destroy(err);
}

static char *read_whole(const char *path, size_t *size_ret)
{
	_cleanup_fclose_ FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0, got;

	if (!file) {
		perror(path);
		exit(2);
	}
	do {
		text = realloc(text, size + (1 << 20) + 1);
		got = fread(text + size, 1, 1 << 20, file);
		size += got;
	} while (got);
	text[size] = '\0';
	*size_ret = size;
	return text;
}

struct line {
	uint64_t address;
	char type;
	const char *name, *module;
};

struct kallsyms_file {
	char *text;
	struct line *lines;
	size_t count;
};

static struct kallsyms_file read_kallsyms(const char *path)
{
	size_t size;
	struct kallsyms_file file = { .text = read_whole(path, &size) };

	for (char *line = strtok(file.text, "\n"); line; line = strtok(NULL, "\n")) {
		struct line entry = { .address = strtoull(line, &line, 16),
				      .type = line[1],
				      .name = line + 3 };
		char *tab = strchr(line + 3, '\t');

		if (tab) {
			*tab = '\0';
			entry.module = tab + 2;
			tab[strlen(tab + 1)] = '\0';
		}
		if (!(file.count & (file.count - 1)))
			file.lines = realloc(file.lines, (file.count * 2 + 1) * sizeof(entry));
		file.lines[file.count++] = entry;
	}
	return file;
}

struct comparison {
	const struct kallsyms_file *file;
	size_t next, differences;
};

static bool compare_symbol(void *arg, const char *name, char type, uint64_t address)
{
	struct comparison *comparison = arg;
	const struct line *line = &comparison->file->lines[comparison->next];

	if (comparison->next < comparison->file->count && !line->module &&
	    line->address == address && line->type == type && !strcmp(line->name, name)) {
		comparison->next++;
		return true;
	}
	if (comparison->differences++ < 5)
		printf("  line %zu: memory has %016" PRIx64 " %c %s\n", comparison->next + 1,
		       address, type, name);
	comparison->next++;
	return true;
}

static void check_image(const struct symbols *symbols, const struct kallsyms_file *file,
			const char *what)
{
	struct comparison comparison = { .file = file };

	symbols_for_each(symbols, compare_symbol, &comparison);
	// What follows in /proc/kallsyms must be symbols of modules, BPF programs, ftrace.
	bool complete = comparison.next == file->count || file->lines[comparison.next].module;

	printf("  %zu symbols compared\n", comparison.next);
	report(!comparison.differences && complete, what);
}

struct module_comparison {
	const struct kallsyms_file *file;
	size_t found, extra, named_wrong;
	bool *seen;
	struct gs_kernel *kernel;
};

static bool compare_module_symbol(void *arg, const char *module, const char *name, uint64_t address)
{
	struct module_comparison *comparison = arg;

	for (size_t i = 0; i < comparison->file->count; i++) {
		const struct line *line = &comparison->file->lines[i];

		if (!line->module || comparison->seen[i] || line->address != address ||
		    strcmp(line->name, name) || strcmp(line->module, module))
			continue;
		comparison->seen[i] = true;
		comparison->found++;
		return true;
	}
	if (comparison->extra++ < 5)
		printf("  only in memory: %016" PRIx64 " %s [%s]\n", address, name, module);
	return true;
}

static void check_modules(struct gs_kernel *kernel, const struct kallsyms_file *file)
{
	struct module_comparison comparison = { .file = file, .kernel = kernel };
	_cleanup_free_ bool *seen = calloc(file->count, sizeof(*seen));
	struct gs_module *modules;
	size_t count, missing = 0;
	struct gs_error *err = gs_kernel_modules(kernel, &modules, &count);

	if (err) {
		report_error(err, "modules");
		return;
	}
	comparison.seen = seen;
	err = modules_for_each_symbol(kernel, compare_module_symbol, &comparison);
	if (err) {
		report_error(err, "symbols of modules");
		return;
	}
	for (size_t i = 0; i < file->count; i++) {
		const struct line *line = &file->lines[i];

		// [bpf], [__builtin__ftrace] and [__builtin__kprobes] are no modules.
		if (!line->module || seen[i] || line->module[0] == '_' ||
		    !strcmp(line->module, "bpf"))
			continue;
		if (missing++ < 5)
			printf("  only in the guest: %016" PRIx64 " %s [%s]\n", line->address,
			       line->name, line->module);
	}
	printf("  %zu modules, %zu symbols of them compared\n", count, comparison.found);
	report(!missing && !comparison.extra, "symbols of modules");
	free(modules);
}

// %pS at some bytes behind a symbol that has neither alias nor zero size.
static void check_symbolize(struct gs_kernel *kernel, const struct kallsyms_file *file)
{
	size_t checked = 0, wrong = 0;

	for (size_t i = 1; i + 1 < file->count; i += 97) {
		const struct line *line = &file->lines[i];
		char expected[KALLSYMS_NAME_LEN + 64], got[sizeof(expected)];
		bool text = line->type == 't' || line->type == 'T';

		if (!text || line[-1].address == line->address ||
		    line[1].address < line->address + 4)
			continue;
		if (line->module)
			snprintf(expected, sizeof(expected), "%s+0x2/", line->name);
		else
			snprintf(expected, sizeof(expected), "%s+0x2/0x%" PRIx64, line->name,
				 line[1].address - line->address);
		gs_kernel_symbolize(kernel, line->address + 2, got, sizeof(got));
		checked++;
		// Module symbols are not in the order of addresses, so their sizes do not show in
		// the file.
		if (line->module ? strncmp(got, expected, strlen(expected)) != 0
				 : strcmp(got, expected) != 0)
			if (wrong++ < 5)
				printf("  expected %s, got %s\n", expected, got);
	}
	printf("  %zu addresses named\n", checked);
	report(checked && !wrong, "symbolize");
}

static void check_btf(struct gs_kernel *kernel, const char *path)
{
	struct types *types;
	struct btf *btf;
	struct gs_error *err = gs_kernel_types(kernel, &types);
	size_t expected_size;
	uint32_t size;

	if (!err)
		err = gs_kernel_btf(kernel, &btf);
	if (err) {
		report_error(err, "types");
		return;
	}

	const void *blob = btf__raw_data(btf, &size);
	uint32_t task = types_find_one(types, "task_struct", 0);
	struct type_location location;

	printf("  %u types\n", types_count(types));
	err = types_resolve_path(types, task, "se.sum_exec_runtime", &location);
	if (err)
		report_error(err, "task_struct.se.sum_exec_runtime");
	else
		report(location.byte_size == 8 && location.bit_offset % 8 == 0,
		       "task_struct.se.sum_exec_runtime");
	if (!path)
		return;

	_cleanup_free_ char *expected = read_whole(path, &expected_size);

	report(size == expected_size && !memcmp(blob, expected, size),
	       "types equal /sys/kernel/btf/vmlinux");
}

static void check_percpu(struct gs_kernel *kernel)
{
	struct gs_symbol_query queries[] = { { .name = "cpu_number" }, { .name = "this_cpu_off" } };
	struct gs_error *err = gs_kernel_find_symbols(kernel, queries, 2);
	const struct gs_map *map = gs_kernel_map(kernel);
	bool ok = !err && queries[1].found && queries[1].percpu;

	for (uint32_t cpu = 0; ok && cpu < map->cpus; cpu++) {
		uint64_t address, value, expected;

		err = layout_percpu(kernel, cpu, queries[1].address, &address);
		if (!err)
			err = gs_kernel_read(kernel, address, &value, sizeof(value));
		if (!err)
			err = gs_kernel_read(kernel, map->percpu_offset + cpu * 8, &expected,
					     sizeof(expected));
		ok = !err && value == expected;
	}
	gs_error_destroy(err);
	report(ok, "per-CPU variable this_cpu_off of each CPU is its __per_cpu_offset");
}

static void check_uts(struct gs_kernel *kernel)
{
	uint64_t address;
	char text[512];
	struct gs_error *err = gs_kernel_find_symbol(kernel, "init_uts_ns", &address);

	if (!err)
		err = gs_kernel_read(kernel, address, text, sizeof(text));
	if (err)
		report_error(err, "init_uts_ns");
	else
		report(memmem(text, sizeof(text), gs_kernel_release(kernel),
			      strlen(gs_kernel_release(kernel))),
		       "init_uts_ns holds the release");
}

// CPU time: what a loaded machine adds to the wall clock is not ours.
static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void print_facts(struct gs_kernel *kernel)
{
	struct gs_kernel_facts facts;
	const struct gs_map *map = gs_kernel_map(kernel);

	gs_kernel_facts(kernel, &facts);
	printf("release %s\nnote 0x%" PRIx64 " (%u bytes)\nkaslr 0x%" PRIx64
	       "\nlevels %u\nkallsyms %s, %s, %u symbols\n",
	       gs_kernel_release(kernel), facts.note_phys, facts.note_size, facts.kaslr_offset,
	       map->levels, facts.kallsyms_encoding,
	       facts.kallsyms_named ? "named" : "found by structure", facts.symbols);
	printf("btf %u bytes\npage_offset 0x%" PRIx64 " vmalloc 0x%" PRIx64 " vmemmap 0x%" PRIx64
	       "\ncpus %u of %u\n",
	       facts.btf_size, facts.page_offset_base, facts.vmalloc_base, facts.vmemmap_base,
	       facts.cpus, map->cpus);
	printf("direct 0x%" PRIx64 "+0x%" PRIx64 " image 0x%" PRIx64 "+0x%" PRIx64 " at 0x%" PRIx64
	       "\n",
	       map->direct_base, map->direct_size, map->image_base, map->image_size,
	       map->image_phys);
}

static void print_memory(const char *when)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/status", "r");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "RssAnon", 7) || !strncmp(line, "RssShmem", 8) ||
		    !strncmp(line, "RssFile", 7))
			printf("%s %s", when, line);
}

// What a program like `gpusentinel ps` asks for on a cold start.
static void print_times(struct gs_target *target, const struct gs_kernel_options *options)
{
	static const char *const names[] = { "init_task",
					     "panic_cpu",
					     "jiffies_64",
					     "runqueues",
					     "prb",
					     "init_uts_ns",
					     "totalram_pages",
					     "_totalram_pages",
					     "vm_stat",
					     "vm_node_stat",
					     "vm_zone_stat",
					     "node_data",
					     "avenrun",
					     "tainted_mask",
					     "__cpu_online_mask",
					     "init_pid_ns",
					     "timekeeper",
					     "tk_core",
					     "swap_info",
					     "nr_swapfiles",
					     "total_swapcache_pages",
					     "nr_swap_pages",
					     "init_mm",
					     "hugetlb_total_pages",
					     "sysctl_overcommit_ratio",
					     "vm_committed_as",
					     "min_free_kbytes",
					     "saved_command_line",
					     "init_user_ns",
					     "jiffies" };
	static const char *const types_wanted[] = { "task_struct",
						    "mm_struct",
						    "signal_struct",
						    "cred",
						    "pid",
						    "list_head",
						    "rq",
						    "zone",
						    "pglist_data",
						    "printk_ringbuffer",
						    "prb_desc",
						    "printk_info",
						    "uts_namespace",
						    "timekeeper",
						    "upid",
						    "kuid_t",
						    "sched_entity",
						    "percpu_counter",
						    "mm_rss_stat",
						    "page",
						    "task_cputime",
						    "thread_info",
						    "nsproxy",
						    "vm_area_struct",
						    "file" };
	struct gs_symbol_query queries[30];
	struct gs_kernel *kernel;
	struct types *types;
	double start = now_ms();
	struct gs_error *err = gs_kernel_open(target, options, &kernel);
	double opened = now_ms();

	if (err) {
		report_error(err, "open");
		return;
	}
	for (int i = 0; i < 30; i++)
		queries[i] = (struct gs_symbol_query){ .name = names[i] };
	gs_error_destroy(symbols_find(&kernel->symbols, queries, 30));

	double found = now_ms();

	err = gs_kernel_types(kernel, &types);

	double loaded = now_ms();
	size_t sum = 0;

	for (int i = 0; !err && i < 25; i++)
		sum += types_find_one(types, types_wanted[i], 0) != 0;

	double resolved = now_ms();

	printf("CPU ms: open %.2f, 30 symbols %.2f, types %.2f, %zu type lookups %.3f, together %.2f\n",
	       opened - start, found - opened, loaded - found, sum, resolved - loaded,
	       resolved - start);
	print_memory("open");
	gs_error_destroy(err);
	gs_kernel_close(kernel);
}

int main(int argc, char **argv)
{
	const char *kallsyms = NULL, *btf = NULL;
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options options = { .size = sizeof(options) };
	bool times = false;

	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--time")) {
			times = true;
			continue;
		}
		if (!strcmp(argv[i], "--kallsyms"))
			kallsyms = value;
		else if (!strcmp(argv[i], "--btf"))
			btf = value;
		else if (!strcmp(argv[i], "--layout"))
			target_options.layout = value;
		else if (!strcmp(argv[i], "--system-map"))
			options.system_map = value;
		else
			argc = 0;
		i++;
	}
	if (argc < 2) {
		fprintf(stderr,
			"usage: kernel_check SPEC [--layout L] [--kallsyms FILE] [--btf FILE] "
			"[--system-map FILE] [--time]\n");
		return 2;
	}

	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_error *err = gs_target_open(argv[1], &target_options, &target);

	if (err) {
		report_error(err, "target");
		return 1;
	}
	if (times) {
		print_memory("before");
		print_times(target, &options);
		print_memory("closed");
		gs_target_close(target);
		return failures;
	}
	err = gs_kernel_open(target, &options, &kernel);
	if (err) {
		report_error(err, "kernel");
		gs_target_close(target);
		return 1;
	}
	print_facts(kernel);
	check_uts(kernel);
	check_percpu(kernel);
	check_btf(kernel, btf);
	if (kallsyms) {
		struct kallsyms_file file = read_kallsyms(kallsyms);
		struct symbols found;

		check_image(&kernel->symbols, &file, "symbols of the image");
		check_modules(kernel, &file);
		check_symbolize(kernel, &file);

		double start = now_ms();

		err = symbols_init_kallsyms(&found, &kernel->memory, &kernel->info, true);
		if (err) {
			report_error(err, "structural search");
		} else {
			printf("  structural search: %.1f ms, %s\n", now_ms() - start,
			       kallsyms_encoding_names[found.kallsyms.encoding]);
			check_image(&found, &file, "symbols of the image, found by structure");
			symbols_deinit(&found);
		}
		free(file.text);
		free(file.lines);
	}
	gs_kernel_close(kernel);
	gs_target_close(target);
	return failures;
}
