// SPDX-License-Identifier: Apache-2.0
// A whole kernel, opened and used: notes, page tables, symbols, types, per-CPU areas and the list of
// modules, which nothing smaller has together. The first byte of the input says which kernel; the rest is
// a list of changes to its memory: four bytes of position and length, then the new bytes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_made.h"
#include "kernel/kernel.h"
#include "kernel/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_CHANGES = 64,
	MAX_CHANGE = 16,
};

struct change {
	uint8_t *at;
	size_t size;
	uint8_t old[MAX_CHANGE];
};

static void use_modules(struct gs_kernel *kernel)
{
	struct gs_module *modules = NULL;
	struct gs_symbol_query queries[] = { { .name = "module_function" }, { .name = "absent" } };
	size_t count;
	char text[256];

	gs_error_destroy(gs_kernel_find_symbols(kernel, queries, 2));
	gs_error_destroy(gs_kernel_modules(kernel, &modules, &count));
	for (size_t i = 0; i < count && i < 4; i++)
		gs_kernel_symbolize(kernel, modules[i].text + 0x18, text, sizeof(text));
	free(modules);
}

static void use(struct gs_kernel *kernel)
{
	struct gs_kernel_facts facts;
	struct btf *btf;
	uint64_t address;
	char text[256];

	gs_kernel_facts(kernel, &facts);
	if (!*gs_kernel_release(kernel))
		abort();
	for (uint32_t cpu = 0; cpu < 3; cpu++)
		gs_error_destroy(layout_percpu(kernel, cpu, 0x40, &address));
	gs_kernel_symbolize(kernel, MADE_TEXT + 0x1234, text, sizeof(text));
	gs_error_destroy(gs_kernel_read_string(kernel, facts.page_offset_base, text, sizeof(text)));
	use_modules(kernel);
	gs_error_destroy(gs_kernel_btf(kernel, &btf));
}

static size_t apply(const struct made_kernel *made, const uint8_t *data, size_t size,
		    struct change *changes)
{
	size_t count = 0;

	while (count < MAX_CHANGES && size > 4) {
		struct change *change = &changes[count];
		uint32_t word;

		memcpy(&word, data, sizeof(word));
		data += sizeof(word);
		size -= sizeof(word);
		change->size = word >> 24 & (MAX_CHANGE - 1);
		change->size = change->size < size ? change->size + 1 : size;
		change->at = made_kernel_byte(made, word & 0xffffff, &change->size);
		memcpy(change->old, change->at, change->size);
		memcpy(change->at, data, change->size);
		data += change->size;
		size -= change->size;
		count++;
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct made_kernel kernels[MADE_KERNELS];
	struct change changes[MAX_CHANGES];
	struct gs_kernel *kernel;

	if (!size)
		return 0;

	struct made_kernel *made = &kernels[data[0] % MADE_KERNELS];

	if (!made->target)
		made_kernel_init(made, data[0] % MADE_KERNELS);

	size_t count = apply(made, data + 1, size - 1, changes);
	struct gs_error *err = gs_kernel_open(made->target, NULL, &kernel);

	if (!err) {
		use(kernel);
		gs_kernel_close(kernel);
	}
	// Unchanged it must open, or there is nothing to be found here.
	if (err && !count) {
		fprintf(stderr, "kernel %u: %s\n", data[0] % MADE_KERNELS, err->message);
		abort();
	}
	gs_error_destroy(err);
	while (count--)
		memcpy(changes[count].at, changes[count].old, changes[count].size);
	return 0;
}
