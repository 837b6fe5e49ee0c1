// SPDX-License-Identifier: Apache-2.0
// System.map: a file that the user got from somewhere.
#include <stdlib.h>
#include <string.h>

#include "kernel/symbols.h"
#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEXT UINT64_C(0xffffffff81000000)

static bool see(void *arg, const char *name, char type, uint64_t address)
{
	volatile uint64_t *sum = arg;

	*sum += strlen(name) + type + address;
	return true;
}

static void use(struct symbols *symbols)
{
	struct gs_symbol_query queries[] = { { .name = "_stext" },
					     { .name = "init_task" },
					     { .name = "" } };
	char name[KALLSYMS_NAME_LEN];
	uint64_t start, length;
	volatile uint64_t sum = 0;

	symbols->image_start = STEXT;
	symbols->image_end = STEXT + (32 << 20);
	gs_error_destroy(symbols_find(symbols, queries, 3));
	symbols_for_each(symbols, see, (void *)&sum);
	symbols_at(symbols, STEXT + 0x1234, name, &start, &length);
	symbols_at(symbols, queries[1].address, name, &start, &length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[MEMORY_FILE_PATH];
	int fd = memory_file(data, size, path);
	struct symbols symbols;

	if (fd < 0)
		return 0;

	struct gs_error *err = symbols_init_system_map(&symbols, path, STEXT);

	if (!err) {
		use(&symbols);
		symbols_deinit(&symbols);
	}
	gs_error_destroy(err);
	close(fd);
	return 0;
}
