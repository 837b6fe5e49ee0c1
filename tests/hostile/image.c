// SPDX-License-Identifier: Apache-2.0
#include "image.h"

#include <bpf/btf.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gpusentinel/kernel_info.h>

const char *const image_region_names[REGION_COUNT] = {
	[REGION_NOTE] = "vmcoreinfo",	[REGION_PAGE_TABLES] = "page tables",
	[REGION_KALLSYMS] = "kallsyms", [REGION_BTF] = "btf",
	[REGION_LISTS] = "lists",	[REGION_LOG] = "log",
	[REGION_ANYWHERE] = "anywhere",
};

static void check(struct gs_error *error, const char *what)
{
	if (error)
		errx(1, "%s: %s", what, error->message);
}

static void add_range(struct image *image, enum image_region region, uint8_t *bytes, uint64_t size)
{
	size_t n = image->count[region];

	// Grow at powers of two.
	if (!(n & (n - 1))) {
		image->ranges[region] =
			reallocarray(image->ranges[region], n ? 2 * n : 1, sizeof(**image->ranges));
		if (!image->ranges[region])
			err(1, "ranges");
	}
	image->ranges[region][n] = (struct image_range){ bytes, size };
	image->count[region]++;
}

static void append(uint64_t **array, size_t *count, uint64_t value)
{
	if (!(*count & (*count - 1))) {
		*array = reallocarray(*array, *count ? 2 * *count : 1, sizeof(**array));
		if (!*array)
			err(1, "addresses");
	}
	(*array)[(*count)++] = value;
}

static void add_pointer(struct image *image, uint64_t address)
{
	append(&image->pointers, &image->pointer_count, address);
}

static void add_task(struct image *image, uint64_t address)
{
	append(&image->tasks, &image->task_count, address);
}

// All segments of an ELF core are one mapping of the file, so that the distance between a host address and its
// place in the file is the same everywhere; find_structures() finds it.
uint8_t *image_physical(struct image *image, uint64_t phys)
{
	const uint8_t *host = gs_target_map(image->target, phys, 1);

	return host ? image->bytes + image->anchor_offset + (host - image->anchor_host) : NULL;
}

uint8_t *image_virtual(struct image *image, uint64_t address)
{
	uint64_t phys;
	struct gs_error *error = gs_kernel_translate(image->kernel, address, &phys);

	if (!error)
		return image_physical(image, phys);
	gs_error_destroy(error);
	return NULL;
}

static void add_physical(struct image *image, enum image_region region, uint64_t phys,
			 uint64_t size)
{
	uint8_t *bytes = image_physical(image, phys);

	if (bytes && bytes >= image->bytes && bytes + size <= image->bytes + image->size)
		add_range(image, region, bytes, size);
}

static void add_virtual(struct image *image, enum image_region region, uint64_t address,
			uint64_t size)
{
	while (size) {
		uint64_t chunk = GS_PAGE_SIZE - address % GS_PAGE_SIZE;
		uint64_t phys;
		struct gs_error *error = gs_kernel_translate(image->kernel, address, &phys);

		if (chunk > size)
			chunk = size;
		if (error)
			gs_error_destroy(error);
		else
			add_physical(image, region, phys, chunk);
		address += chunk;
		size -= chunk;
	}
}

static void add_tables(struct image *image, uint64_t table, unsigned int level)
{
	add_physical(image, REGION_PAGE_TABLES, table, GS_PAGE_SIZE);
	if (level == 1 || image->count[REGION_PAGE_TABLES] > 4096)
		return;
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t entry;
		struct gs_error *error =
			gs_target_read(image->target, table + 8 * i, &entry, sizeof(entry));

		if (error) {
			gs_error_destroy(error);
			return;
		}
		if ((entry & GS_PTE_PRESENT) && !(entry & GS_PTE_PSE))
			add_tables(image, entry & GS_PTE_ADDR, level - 1);
	}
}

static uint32_t member_offset(struct btf *btf, const char *type_name, const char *member_name)
{
	const struct btf_type *type =
		btf__type_by_id(btf, btf__find_by_name_kind(btf, type_name, BTF_KIND_STRUCT));

	for (unsigned int i = 0; type && i < btf_vlen(type); i++) {
		const struct btf_member *member = btf_members(type) + i;

		if (!strcmp(btf__name_by_offset(btf, member->name_off), member_name))
			return btf_member_bit_offset(type, i) / 8;
	}
	errx(1, "BTF has no %s.%s", type_name, member_name);
}

static void add_tasks(struct image *image)
{
	struct btf *btf;
	uint64_t init_task;

	check(gs_kernel_btf(image->kernel, &btf), "BTF");
	check(gs_kernel_find_symbol(image->kernel, "init_task", &init_task), "init_task");

	uint32_t tasks = member_offset(btf, "task_struct", "tasks");
	uint64_t address = init_task;

	for (int i = 0; i < 10000; i++) {
		uint64_t next;

		add_pointer(image, address);
		add_task(image, address + tasks);
		// From the middle of the structure, where list heads and pointers are.
		add_virtual(image, REGION_LISTS, address + tasks, 1024);
		check(gs_kernel_read(image->kernel, address + tasks, &next, sizeof(next)), "tasks");
		address = next - tasks;
		if (address == init_task)
			return;
	}
	errx(1, "the unchanged image's task list does not end");
}

static void add_symbols(struct image *image)
{
	static const struct {
		const char *name;
		enum image_region region;
	} wanted[] = {
		{ "modules", REGION_LISTS },
		{ "__per_cpu_offset", REGION_LISTS },
		{ "prb", REGION_LOG },
	};
	struct gs_symbol_query queries[sizeof(wanted) / sizeof(*wanted)] = { 0 };
	size_t count = sizeof(wanted) / sizeof(*wanted);

	for (size_t i = 0; i < count; i++)
		queries[i].name = wanted[i].name;
	check(gs_kernel_find_symbols(image->kernel, queries, count), "symbols");
	for (size_t i = 0; i < count; i++) {
		uint64_t size = queries[i].size;

		if (!queries[i].found)
			continue;
		if (!size || size > 8 << 20)
			size = 64;
		add_virtual(image, wanted[i].region, queries[i].address, size);
		add_pointer(image, queries[i].address);
		if (wanted[i].region == REGION_LOG) {
			uint64_t ring;

			check(gs_kernel_read(image->kernel, queries[i].address, &ring, 8), "prb");
			add_virtual(image, REGION_LOG, ring, 128);
		}
	}

	uint64_t start, stop;

	check(gs_kernel_find_symbol(image->kernel, "__start_BTF", &start), "BTF");
	check(gs_kernel_find_symbol(image->kernel, "__stop_BTF", &stop), "BTF");
	// The header and the first types decide most; flips far behind rarely matter.
	add_virtual(image, REGION_BTF, start, 64);
	add_virtual(image, REGION_BTF, start, stop - start);
}

uint64_t image_note_symbol(struct image *image, const char *name)
{
	const struct image_range *note = &image->ranges[REGION_NOTE][0];
	char line[128];
	int len = snprintf(line, sizeof(line), "SYMBOL(%s)=", name);
	const char *at = memmem(note->bytes, note->size, line, len);

	if (!at)
		errx(1, "VMCOREINFO has no %s", line);
	return strtoull(at + len, NULL, 16);
}

static void add_kallsyms(struct image *image, uint64_t symbols)
{
	const struct {
		const char *name;
		uint64_t size;
	} tables[] = {
		{ "kallsyms_num_syms", 4 },
		// About what names take: a dozen bytes each.
		{ "kallsyms_names", symbols * 12 },
		{ "kallsyms_offsets", symbols * 4 },
		{ "kallsyms_relative_base", 8 },
		{ "kallsyms_token_table", 900 },
		{ "kallsyms_token_index", 512 },
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		add_virtual(image, REGION_KALLSYMS, image_note_symbol(image, tables[i].name),
			    tables[i].size);
}

static void find_structures(struct image *image)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_kernel_facts facts;
	uint64_t phys = 0;

	check(gs_target_open(image->spec, &options, &image->target), image->spec);
	check(gs_kernel_open(image->target, &kernel_options, &image->kernel), image->spec);
	gs_kernel_facts(image->kernel, &facts);

	// The note's page is unlike any other: find it in the file, and with it the distance.
	image->anchor_host = gs_target_map(image->target, facts.note_phys, facts.note_size);
	if (!image->anchor_host)
		errx(1, "the note is not mapped");
	uint8_t *found = memmem(image->bytes, image->size, image->anchor_host, GS_PAGE_SIZE);
	if (!found)
		errx(1, "the note is not in the file");
	image->anchor_offset = found - image->bytes;

	const struct gs_map *map = gs_kernel_map(image->kernel);
	add_physical(image, REGION_NOTE, facts.note_phys, facts.note_size + 24);
	add_tables(image, map->root_phys, map->levels);
	add_tasks(image);
	add_kallsyms(image, facts.symbols);
	add_symbols(image);
	for (; gs_target_next_present(image->target, phys, &phys); phys += GS_PAGE_SIZE)
		add_physical(image, REGION_ANYWHERE, phys, GS_PAGE_SIZE);
}

void image_load(struct image *image, const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	if (file < 0 || fstat(file, &stat))
		err(1, "%s", path);
	memset(image, 0, sizeof(*image));
	image->size = stat.st_size;
	image->fd = memfd_create("image", 0);
	if (image->fd < 0 || ftruncate(image->fd, stat.st_size))
		err(1, "memfd");
	image->bytes = mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_SHARED, image->fd, 0);
	if (image->bytes == MAP_FAILED)
		err(1, "mmap");

	// Holes of the file stay holes of the copy.
	for (off_t data = 0, hole; (data = lseek(file, data, SEEK_DATA)) >= 0; data = hole) {
		hole = lseek(file, data, SEEK_HOLE);
		for (off_t at = data; at < hole;) {
			ssize_t n = pread(file, image->bytes + at, hole - at, at);

			if (n <= 0)
				err(1, "%s", path);
			at += n;
		}
	}
	close(file);
	snprintf(image->spec, sizeof(image->spec), "core:/proc/self/fd/%d", image->fd);
	find_structures(image);
}
