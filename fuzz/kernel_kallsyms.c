// SPDX-License-Identifier: Apache-2.0
// The symbol tables: the input is a kernel image; its first 32 bytes say where the tables are. Then
// the same image is searched by structure.
#include <stdlib.h>
#include <string.h>

#include "../tests/unit/kernel_memory.h"
#include "kernel/kallsyms_find.h"
#include "kernel/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE UINT64_C(0xffffffff81000000)

static void use(struct symbols *symbols)
{
	struct gs_symbol_query queries[] = { { .name = "_stext" }, { .name = "absent" } };
	char name[KALLSYMS_NAME_LEN];
	uint64_t start, length;

	symbols->image_start = BASE;
	symbols->image_end = BASE + (1 << 20);
	gs_error_destroy(symbols_find(symbols, queries, 2));
	symbols_at(symbols, BASE + 100, name, &start, &length);
	symbols_deinit(symbols);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t at[8];

	if (size < sizeof(at) || size > 1 << 20)
		return 0;
	memcpy(at, data, sizeof(at));

	struct gs_target *target = memory_target(0, size);
	struct memory memory = {
		.target = target,
		.map = { .image_base = BASE,
			 .image_size = size,
			 .levels = 4,
			 .root_phys = UINT64_C(1) << 40,
			 .phys_mask = GS_PTE_ADDR },
	};
	struct kallsyms_tables tables = {
		.names = BASE + at[0],
		.num_syms = BASE + at[1],
		.token_table = BASE + at[2],
		.token_index = BASE + at[3],
		.addresses = at[4] ? BASE + at[4] : 0,
		.offsets = BASE + at[5],
		.relative_base = at[6] ? BASE + at[6] : 0,
	};
	struct kallsyms_anchor anchors[] = { { "_stext", BASE + 0x1000, KALLSYMS_NONE },
					     { "init_uts_ns", BASE + 0x3200, KALLSYMS_NONE } };
	struct symbols symbols = { 0 };

	memcpy(memory_at(target, 0), data, size);

	struct gs_error *err = kallsyms_load(&memory, &tables, anchors, 2, &symbols.kallsyms);

	if (!err)
		use(&symbols);
	gs_error_destroy(err);

	if (kallsyms_search_buffer(data, size, BASE, anchors, 2, &tables)) {
		err = kallsyms_load(&memory, &tables, anchors, 2, &symbols.kallsyms);
		if (!err)
			use(&symbols);
		gs_error_destroy(err);
	}
	gs_target_close(target);
	return 0;
}
