// SPDX-License-Identifier: Apache-2.0
// Change the memory of a guest of the lab from outside, as an attacker below the system would.
//
//	poke SPEC RAM-FILE ADDRESS BYTES	write, and print the bytes that were there
//	poke SPEC RAM-FILE --static-branch	print where a static branch of five bytes is turned off
//
// ADDRESS is SYMBOL, SYMBOL+OFFSET or 0x...; BYTES are hexadecimal. RAM-FILE is the guest's memory,
// whose first byte is physical address 0: guests of less than 2 GiB only.
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/kernel_info.h>

#include "util/cleanup.h"

enum {
	BYTES_MAX = 64,
	LOW_RAM_MAX = 1 << 30,
};

static struct gs_error *find(struct gs_kernel *kernel, const char *where, uint64_t *ret)
{
	char name[128];
	const char *plus = strchr(where, '+');
	size_t length = plus ? (size_t)(plus - where) : strlen(where);

	if (strncmp(where, "0x", 2) == 0) {
		*ret = strtoull(where, NULL, 16);
		return NULL;
	}
	if (length >= sizeof(name))
		return gs_error_create(GS_ERROR_USAGE, "%s: too long a name", where);
	memcpy(name, where, length);
	name[length] = '\0';

	struct gs_error *err = gs_kernel_find_symbol(kernel, name, ret);

	if (!err && plus)
		*ret += strtoull(plus + 1, NULL, 0);
	return err;
}

static struct gs_error *write_bytes(struct gs_kernel *kernel, const char *ram, const char *where,
				    const char *text)
{
	unsigned char was[BYTES_MAX], bytes[BYTES_MAX];
	size_t count = strlen(text) / 2;
	uint64_t address, phys;
	struct gs_error *err = find(kernel, where, &address);

	for (size_t i = 0; i < count && i < BYTES_MAX; i++)
		sscanf(text + 2 * i, "%2hhx", &bytes[i]);
	if (!err && (!count || count > BYTES_MAX || (address & 4095) + count > 4096))
		err = gs_error_create(GS_ERROR_USAGE, "%s: 1 to %d bytes of one page", text,
				      BYTES_MAX);
	if (!err)
		err = gs_kernel_read(kernel, address, was, count);
	if (!err)
		err = gs_kernel_translate(kernel, address, &phys);
	if (!err && phys >= LOW_RAM_MAX)
		err = gs_error_create(GS_ERROR_TARGET, "0x%" PRIx64 ": too far up", phys);
	if (err)
		return err;

	_cleanup_close_ int fd = open(ram, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, bytes, count, (off_t)phys) != (ssize_t)count)
		return gs_error_create(GS_ERROR_TARGET, "%s: cannot be written", ram);
	for (size_t i = 0; i < count; i++)
		printf("%02x", was[i]);
	printf("\n");
	return NULL;
}

// One in the middle of the table: any will do.
static struct gs_error *show_static_branch(struct gs_kernel *kernel)
{
	static const unsigned char nops[][5] = {
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x66, 0x66, 0x66, 0x90 },
	};
	struct {
		int32_t code, target;
		int64_t key;
	} entry;
	uint64_t start, stop, etext;
	struct gs_error *err = gs_kernel_find_symbol(kernel, "__start___jump_table", &start);

	if (!err)
		err = gs_kernel_find_symbol(kernel, "__stop___jump_table", &stop);
	if (!err)
		err = gs_kernel_find_symbol(kernel, "_etext", &etext);
	if (err)
		return err;

	uint64_t middle = start + (stop - start) / sizeof(entry) / 2 * sizeof(entry);

	for (uint64_t at = middle; at < stop; at += sizeof(entry)) {
		unsigned char code[5];
		char name[256];

		err = gs_kernel_read(kernel, at, &entry, sizeof(entry));
		if (err)
			return err;

		uint64_t address = at + (uint64_t)(int64_t)entry.code;

		// All of it in one page, and not in the text of the boot.
		if (address >= etext || (address & 4095) > 4090)
			continue;
		err = gs_kernel_read(kernel, address, code, sizeof(code));
		if (err)
			return err;
		if (memcmp(code, nops[0], 5) != 0 && memcmp(code, nops[1], 5) != 0)
			continue;
		gs_kernel_symbolize(kernel, address, name, sizeof(name));
		printf("0x%" PRIx64 " %s\n", address, name);
		return NULL;
	}
	return gs_error_create(GS_ERROR_KERNEL, "no static branch of five bytes");
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options options = { .size = sizeof(options) };
	bool branch = argc == 4 && strcmp(argv[3], "--static-branch") == 0;
	struct gs_target *target = NULL;
	struct gs_kernel *kernel = NULL;

	if (argc != 5 && !branch) {
		fprintf(stderr,
			"usage: poke SPEC RAM-FILE ADDRESS BYTES | SPEC RAM-FILE --static-branch\n");
		return 2;
	}

	struct gs_error *err = gs_target_open(argv[1], &target_options, &target);

	if (!err)
		err = gs_kernel_open(target, &options, &kernel);
	if (!err)
		err = branch ? show_static_branch(kernel)
			     : write_bytes(kernel, argv[2], argv[3], argv[4]);
	if (err)
		fprintf(stderr, "poke: %s\n", err->message);

	int status = err != NULL;

	gs_error_destroy(err);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return status;
}
