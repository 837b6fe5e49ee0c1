// SPDX-License-Identifier: Apache-2.0
// damage CORE OUT KIND: write a copy of a memory image that is wrong in one known way.
#include "image.h"

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gpusentinel/kernel_info.h>

static void store(struct image *image, uint64_t address, uint64_t value)
{
	uint8_t *bytes = image_virtual(image, address);

	if (!bytes)
		errx(1, "%#llx is not in the image", (unsigned long long)address);
	memcpy(bytes, &value, sizeof(value));
}

static uint64_t symbol(struct image *image, const char *name)
{
	uint64_t address;
	struct gs_error *error = gs_kernel_find_symbol(image->kernel, name, &address);

	if (error)
		errx(1, "%s", error->message);
	return address;
}

static void clear(struct image *image, uint64_t address, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++) {
		uint8_t *byte = image_virtual(image, address + i);

		if (byte)
			*byte = 0;
	}
}

static void fill(struct image *image, enum image_region region, uint64_t value)
{
	for (size_t i = 0; i < image->count[region]; i++) {
		for (uint64_t at = 0; at + 8 <= image->ranges[region][i].size; at += 8)
			memcpy(image->ranges[region][i].bytes + at, &value, 8);
	}
}

static void no_vmcoreinfo(struct image *image)
{
	// Every copy's name goes, the stale ones too.
	for (uint8_t *at = image->bytes;
	     (at = memmem(at, image->bytes + image->size - at, "VMCOREINFO", 10));)
		memset(at, 'x', 10);
}

static void no_kallsyms(struct image *image)
{
	struct image_range *note = &image->ranges[REGION_NOTE][0];
	static const char prefix[] = "SYMBOL(kallsyms_";
	uint64_t token_table = image_note_symbol(image, "kallsyms_token_table");
	uint64_t token_index = image_note_symbol(image, "kallsyms_token_index");

	clear(image, token_table, 256);
	clear(image, token_index, 512);
	for (uint8_t *at = note->bytes;
	     (at = memmem(at, note->bytes + note->size - at, prefix, sizeof(prefix) - 1));)
		memset(at, 'x', sizeof(prefix) - 1);
}

static void no_btf(struct image *image)
{
	clear(image, symbol(image, "__start_BTF"), 64);
}

static void cyclic_tasks(struct image *image)
{
	store(image, image->tasks[image->task_count - 2], image->tasks[image->task_count / 2]);
}

static void tasks_into_nowhere(struct image *image)
{
	store(image, image->tasks[image->task_count / 2], UINT64_C(0xdead000000000100));
}

static void looping_page_tables(struct image *image)
{
	// Every entry of every table leads back to the root.
	fill(image, REGION_PAGE_TABLES, gs_kernel_map(image->kernel)->root_phys | 0x63);
}

static void no_page_tables(struct image *image)
{
	fill(image, REGION_PAGE_TABLES, 0);
}

static void garbled_btf(struct image *image)
{
	fill(image, REGION_BTF, UINT64_C(0x0f00ffff00010203));
}

static const struct {
	const char *name;
	void (*apply)(struct image *image);
} kinds[] = {
	{ "no-vmcoreinfo", no_vmcoreinfo },
	{ "no-kallsyms", no_kallsyms },
	{ "no-btf", no_btf },
	{ "garbled-btf", garbled_btf },
	{ "cyclic-tasks", cyclic_tasks },
	{ "tasks-into-nowhere", tasks_into_nowhere },
	{ "looping-page-tables", looping_page_tables },
	{ "no-page-tables", no_page_tables },
};

int main(int argc, char **argv)
{
	struct image image;
	bool known = false;

	if (argc != 4)
		errx(2, "usage: damage CORE OUT KIND");
	image_load(&image, argv[1]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, argv[3]))
			continue;
		kinds[i].apply(&image);
		known = true;
	}
	if (!known)
		errx(2, "no such damage: %s", argv[3]);

	int out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0 || ftruncate(out, image.size))
		err(1, "%s", argv[2]);
	// Holes stay holes.
	for (off_t data = 0, hole; (data = lseek(image.fd, data, SEEK_DATA)) >= 0; data = hole) {
		hole = lseek(image.fd, data, SEEK_HOLE);
		for (off_t at = data; at < hole;) {
			ssize_t n = pwrite(out, image.bytes + at, hole - at, at);

			if (n <= 0)
				err(1, "%s", argv[2]);
			at += n;
		}
	}
	return close(out) ? EXIT_FAILURE : EXIT_SUCCESS;
}
