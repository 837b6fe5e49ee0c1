// SPDX-License-Identifier: Apache-2.0
#include "kernel/kallsyms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/kallsyms_find.h"
#include "kernel/symbols.h"
#include "kernel_kallsyms.h"
#include "kernel_memory.h"

enum {
	COUNT = 3000,
	PERCPU = 20,
	SIZE = 1 << 20,
};

#define BASE UINT64_C(0xffffffff9a000000)
#define STEXT (BASE + 0x1000)

static char names[COUNT][64];
static char long_name[600];
static struct made_symbol symbols[COUNT];

// Per-CPU symbols from 0 if @zero_based, then the image; the last name is too long for a one-byte
// length.
static void make_symbols(bool zero_based)
{
	for (int i = 0; i < COUNT; i++) {
		bool percpu = zero_based && i < PERCPU;

		snprintf(names[i], sizeof(names[i]), "%csys_%s_cpu%d", "tTdDbBrR"[i % 8],
			 i % 3 ? "lock" : "__init", i);
		symbols[i].name = names[i];
		symbols[i].address = percpu ? (uint64_t)i * 0x40 : BASE + (uint64_t)i * 0x80;
	}
	symbols[PERCPU].name = "T_text";
	symbols[PERCPU].address = STEXT - 0x600;
	symbols[PERCPU + 12].name = "T_stext";
	symbols[PERCPU + 12].address = STEXT;
	symbols[100].name = "Dinit_uts_ns";
	symbols[200].name = "dduplicate";
	symbols[300].name = "dduplicate";
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[0] = 't';
	symbols[400].name = long_name;
}

static struct kallsyms_anchor anchors[3];

static void make_anchors(void)
{
	anchors[0] = (struct kallsyms_anchor){ "_stext", STEXT, KALLSYMS_NONE };
	anchors[1] = (struct kallsyms_anchor){ "init_uts_ns", symbols[100].address, KALLSYMS_NONE };
	anchors[2] = (struct kallsyms_anchor){ "not_there", BASE, KALLSYMS_NONE };
}

struct fixture {
	struct gs_target *target;
	struct memory memory;
	struct made_table table;
};

static struct fixture begin(enum kallsyms_encoding encoding, size_t align, bool addresses_first)
{
	bool zero_based = encoding == KALLSYMS_ABSOLUTE || encoding == KALLSYMS_ABSOLUTE_PERCPU;
	struct fixture fixture = { .target = memory_target(0, SIZE) };

	make_symbols(zero_based);
	make_anchors();
	fixture.memory = (struct memory){
		.target = fixture.target,
		.map = { .image_base = BASE,
			 .image_size = SIZE,
			 .image_phys = 0,
			 .levels = 4,
			 .root_phys = UINT64_C(1) << 40,
			 .phys_mask = GS_PTE_ADDR },
	};
	fixture.table = make_kallsyms(memory_at(fixture.target, 0), SIZE, BASE, align, symbols,
				      COUNT, encoding, BASE, addresses_first);
	return fixture;
}

static void check_equal(const struct kallsyms *kallsyms)
{
	size_t offset = 0;

	assert_int_equal(kallsyms->count, COUNT);
	for (int i = 0; i < COUNT; i++) {
		char name[KALLSYMS_NAME_LEN], type;

		offset = kallsyms_expand(kallsyms, offset, &type, name);
		assert_int_equal(type, symbols[i].name[0]);
		assert_string_equal(name, symbols[i].name + 1);
		assert_int_equal(kallsyms_address(kallsyms, i, NULL), symbols[i].address);
	}
	assert_int_equal(offset, 0);
}

static void decodes_every_encoding(void **state)
{
	(void)state;
	for (enum kallsyms_encoding encoding = 0; encoding < KALLSYMS_ENCODINGS; encoding++) {
		struct fixture fixture = begin(encoding, 8, true);
		struct kallsyms kallsyms;

		assert_null(kallsyms_load(&fixture.memory, &fixture.table.tables, anchors, 3,
					  &kallsyms));
		assert_int_equal(kallsyms.encoding, encoding);
		check_equal(&kallsyms);
		kallsyms_deinit(&kallsyms);
		gs_target_close(fixture.target);
	}
}

static void finds_every_encoding_by_structure(void **state)
{
	(void)state;
	for (enum kallsyms_encoding encoding = 0; encoding < KALLSYMS_ENCODINGS; encoding++) {
		for (int order = 0; order < 2; order++) {
			size_t align = encoding == KALLSYMS_PLACE_RELATIVE ? 4 : 8;
			struct fixture fixture = begin(encoding, align, order);
			struct kallsyms_tables tables;
			struct kallsyms kallsyms;

			assert_true(kallsyms_search_buffer(memory_at(fixture.target, 0), SIZE, BASE,
							   anchors, 3, &tables));
			assert_memory_equal(&tables, &fixture.table.tables, sizeof(tables));
			assert_null(kallsyms_load(&fixture.memory, &tables, anchors, 3, &kallsyms));
			assert_int_equal(kallsyms.encoding, encoding);
			check_equal(&kallsyms);
			kallsyms_deinit(&kallsyms);
			gs_target_close(fixture.target);
		}
	}
}

static void finds_names_in_one_pass(void **state)
{
	struct fixture fixture = begin(KALLSYMS_ABSOLUTE_PERCPU, 8, true);
	const char *wanted[] = { "duplicate",	"absent", "_stext",	     "duplicate",
				 long_name + 1, "",	  "sys_lock_cpu2999" };
	uint32_t indexes[7];
	struct kallsyms kallsyms;

	(void)state;
	assert_null(kallsyms_load(&fixture.memory, &fixture.table.tables, anchors, 3, &kallsyms));
	kallsyms_find(&kallsyms, wanted, indexes, 7);
	// The first of those that share a name, as often as it is asked for.
	assert_int_equal(indexes[0], 200);
	assert_int_equal(indexes[1], KALLSYMS_NONE);
	assert_int_equal(indexes[2], PERCPU + 12);
	assert_int_equal(indexes[3], 200);
	assert_int_equal(indexes[4], 400);
	assert_int_equal(indexes[5], KALLSYMS_NONE);
	assert_int_equal(indexes[6], 2999);
	kallsyms_deinit(&kallsyms);
	gs_target_close(fixture.target);
}

static void assert_refused(struct fixture *fixture)
{
	struct kallsyms kallsyms;
	struct gs_error *err =
		kallsyms_load(&fixture->memory, &fixture->table.tables, anchors, 3, &kallsyms);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_KERNEL);
	gs_error_destroy(err);
	gs_target_close(fixture->target);
}

static void refuses_damaged_tables(void **state)
{
	struct fixture fixture = begin(KALLSYMS_RELATIVE, 8, true);
	uint8_t *memory = memory_at(fixture.target, 0);

	(void)state;
	// No encoding gives this _stext.
	anchors[0].address += 8;
	assert_refused(&fixture);

	fixture = begin(KALLSYMS_RELATIVE, 8, true);
	memory = memory_at(fixture.target, 0);
	memset(memory + (fixture.table.tables.num_syms - BASE), 0xff, 4);
	assert_refused(&fixture);

	// More symbols than there are names.
	fixture = begin(KALLSYMS_RELATIVE, 8, true);
	memory = memory_at(fixture.target, 0);
	uint32_t many = COUNT * 100;
	memcpy(memory + (fixture.table.tables.num_syms - BASE), &many, sizeof(many));
	assert_refused(&fixture);

	fixture = begin(KALLSYMS_RELATIVE, 8, true);
	memory = memory_at(fixture.target, 0);
	memory[fixture.table.tables.names - BASE] = 0;
	assert_refused(&fixture);

	// The index points behind the token table.
	fixture = begin(KALLSYMS_RELATIVE, 8, true);
	memory = memory_at(fixture.target, 0);
	memset(memory + (fixture.table.tables.token_index - BASE) + 2 * 'a', 0xff, 2);
	memset(memory + fixture.table.size, 'z', SIZE - fixture.table.size);
	fixture.memory.map.image_size = (fixture.table.size + 64) & ~UINT64_C(7);
	assert_refused(&fixture);
}

static void refuses_tables_outside_memory(void **state)
{
	for (int i = 0; i < 5; i++) {
		struct fixture fixture = begin(KALLSYMS_RELATIVE, 8, true);
		uint64_t *fields[] = { &fixture.table.tables.names, &fixture.table.tables.num_syms,
				       &fixture.table.tables.token_index,
				       &fixture.table.tables.offsets,
				       &fixture.table.tables.relative_base };

		*fields[i] = UINT64_C(0xffff888012345678);
		assert_refused(&fixture);
	}
	(void)state;
}

static void finds_nothing_in_noise(void **state)
{
	struct fixture fixture = begin(KALLSYMS_RELATIVE, 8, true);
	struct kallsyms_tables tables;
	uint8_t *memory = memory_at(fixture.target, 0);

	(void)state;
	// Without the tokens; without the names; without the addresses.
	uint64_t cuts[] = { fixture.table.tables.token_table - BASE + 0x60,
			    fixture.table.tables.names - BASE,
			    fixture.table.tables.offsets - BASE + 4 * (PERCPU + 12) };

	for (int i = 0; i < 3; i++) {
		uint8_t saved[64];

		memcpy(saved, memory + cuts[i], sizeof(saved));
		memset(memory + cuts[i], 0, sizeof(saved));
		assert_false(kallsyms_search_buffer(memory, SIZE, BASE, anchors, 3, &tables));
		memcpy(memory + cuts[i], saved, sizeof(saved));
	}
	assert_true(kallsyms_search_buffer(memory, SIZE, BASE, anchors, 3, &tables));
	assert_false(kallsyms_search_buffer(memory, 0, BASE, anchors, 3, &tables));
	// A token table at the very end.
	assert_false(kallsyms_search_buffer(memory, fixture.table.tables.token_index - BASE + 100,
					    BASE, anchors, 3, &tables));
	gs_target_close(fixture.target);
}

static void gives_sizes_and_percpu_offsets(void **state)
{
	struct fixture fixture = begin(KALLSYMS_ABSOLUTE_PERCPU, 8, true);
	struct symbols table = { .percpu_start = 0, .percpu_end = PERCPU * 0x40 };
	struct gs_symbol_query queries[] = { { .name = "sys_lock_cpu2" },
					     { .name = "sys_lock_cpu500" },
					     { .name = "absent" } };

	(void)state;
	assert_null(
		kallsyms_load(&fixture.memory, &fixture.table.tables, anchors, 3, &table.kallsyms));
	assert_null(symbols_find(&table, queries, 3));
	assert_true(queries[0].found && queries[0].percpu);
	assert_int_equal(queries[0].address, 0x80);
	assert_int_equal(queries[0].size, 0x40);
	assert_true(queries[1].found && !queries[1].percpu);
	assert_int_equal(queries[1].address, BASE + 500 * 0x80);
	assert_int_equal(queries[1].size, 0x80);
	assert_false(queries[2].found);

	// Linked in the image since v6.15: the same answer by the same rule.
	table.percpu_start = BASE + 1000 * 0x80;
	table.percpu_end = BASE + 1100 * 0x80;
	queries[0].name = "sys_lock_cpu1001";
	assert_null(symbols_find(&table, queries, 1));
	assert_true(queries[0].percpu);
	assert_int_equal(queries[0].address, 0x80);
	symbols_deinit(&table);
	gs_target_close(fixture.target);
}

static void names_addresses(void **state)
{
	struct fixture fixture = begin(KALLSYMS_ABSOLUTE_PERCPU, 8, true);
	struct symbols table = { .image_start = STEXT - 0x600, .image_end = BASE + COUNT * 0x80 };
	char name[KALLSYMS_NAME_LEN];
	uint64_t start, size;

	(void)state;
	// An alias: the kernel prints the first of the two.
	symbols[501].address = symbols[500].address;
	made_addresses(&(struct made_table){ .buf = fixture.table.buf,
					     .capacity = SIZE,
					     .address = BASE,
					     .align = 8,
					     .size = fixture.table.tables.offsets - BASE },
		       symbols, COUNT, KALLSYMS_ABSOLUTE_PERCPU, BASE);
	assert_null(
		kallsyms_load(&fixture.memory, &fixture.table.tables, anchors, 3, &table.kallsyms));

	assert_true(symbols_at(&table, symbols[500].address + 0x90, name, &start, &size));
	assert_string_equal(name, symbols[500].name + 1);
	assert_int_equal(start, symbols[500].address);
	assert_int_equal(size, 0x100);
	assert_true(symbols_at(&table, symbols[COUNT - 1].address, name, &start, &size));
	assert_int_equal(size, 0x80);
	assert_false(symbols_at(&table, BASE + COUNT * 0x80, name, &start, &size));
	assert_false(symbols_at(&table, 0x40, name, &start, &size));
	symbols_deinit(&table);
	gs_target_close(fixture.target);
}

static void loads_a_system_map(void **state)
{
	static const char text[] = "0000000000000000 A __per_cpu_start\nffffffff81000000 T _stext\n"
				   "ffffffff81000100 t one\nnot a line\nffffffff81000200 D two\n";
	char path[] = "/tmp/gs-system-map-XXXXXX";
	int fd = mkstemp(path);
	struct symbols table;
	struct gs_symbol_query queries[] = { { .name = "one" }, { .name = "__per_cpu_start" } };

	(void)state;
	assert_true(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
	assert_null(symbols_init_system_map(&table, path, UINT64_C(0xffffffff91000000)));
	assert_int_equal(symbols_count(&table), 4);
	assert_null(symbols_find(&table, queries, 2));
	assert_int_equal(queries[0].address, UINT64_C(0xffffffff91000100));
	assert_int_equal(queries[0].size, 0x100);
	assert_int_equal(queries[1].address, 0);
	symbols_deinit(&table);

	// Debian ships a stub.
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, "ffffffffffffffff B The real System.map\n", 39, 0), 39);

	struct gs_error *err = symbols_init_system_map(&table, path, STEXT);

	assert_non_null(err);
	gs_error_destroy(err);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_every_encoding),
		cmocka_unit_test(finds_every_encoding_by_structure),
		cmocka_unit_test(finds_names_in_one_pass),
		cmocka_unit_test(refuses_damaged_tables),
		cmocka_unit_test(refuses_tables_outside_memory),
		cmocka_unit_test(finds_nothing_in_noise),
		cmocka_unit_test(gives_sizes_and_percpu_offsets),
		cmocka_unit_test(names_addresses),
		cmocka_unit_test(loads_a_system_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
