// SPDX-License-Identifier: Apache-2.0
// gs_kernel_open() on the smallest memory that it takes for a kernel, and on what is none.
#include <gpusentinel/kernel_info.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel_kallsyms.h"
#include "kernel_memory.h"

// Physical: the image of 2 MiB at 2 MiB, of which the first holds the symbols and the last pages
// the page tables.
#define TEXT UINT64_C(0xffffffff81000000)
#define IMAGE_PHYS UINT64_C(0x200000)
#define IMAGE_SIZE UINT64_C(0x200000)
#define SYMBOLS_SIZE UINT64_C(0x100000)
#define TABLES UINT64_C(0x1f0000)
#define NOTE_PHYS UINT64_C(0x123000)
#define MEMORY_SIZE UINT64_C(0x600000)

enum {
	COUNT = 400,
	// Offset in the image of what the kernel's variables hold.
	VARIABLES = 0x180000,
};

static char filler[COUNT][32];
static struct made_symbol symbols[COUNT];

static void make_symbols(void)
{
	static const struct made_symbol known[] = {
		{ "T_text", TEXT },
		{ "T_stext", TEXT },
		{ "D__per_cpu_offset", TEXT + VARIABLES },
		{ "Dnr_cpu_ids", TEXT + VARIABLES + 0x40 },
		{ "Dinit_uts_ns", TEXT + VARIABLES + 0x80 },
		{ "B_end", TEXT + IMAGE_SIZE },
	};

	for (int i = 0; i < COUNT; i++) {
		snprintf(filler[i], sizeof(filler[i]), "tfunction_%d", i);
		symbols[i] = (struct made_symbol){ filler[i], TEXT + 0x100 + (uint64_t)i * 16 };
	}
	symbols[0] = known[0];
	symbols[1] = known[1];
	for (int i = 2; i < 6; i++)
		symbols[COUNT - 6 + i] = known[i];
}

static void put_note(struct gs_target *target, uint64_t phys, const char *release, uint64_t swapper,
		     bool named, const struct kallsyms_tables *tables)
{
	char text[4096], names[1024] = "";

	if (named)
		snprintf(
			names, sizeof(names),
			"SYMBOL(kallsyms_names)=%lx\nSYMBOL(kallsyms_num_syms)=%lx\nSYMBOL(kallsyms_token_table)=%lx\n"
			"SYMBOL(kallsyms_token_index)=%lx\nSYMBOL(kallsyms_offsets)=%lx\n",
			tables->names, tables->num_syms, tables->token_table, tables->token_index,
			tables->offsets);
	snprintf(
		text, sizeof(text),
		"OSRELEASE=%s\nSYMBOL(swapper_pg_dir)=%lx\nSYMBOL(_stext)=%lx\nSYMBOL(init_uts_ns)=%lx\n"
		"NUMBER(phys_base)=%ld\nSIZE(page)=64\nKERNELOFFSET=0\n%s",
		release, swapper, TEXT, TEXT + VARIABLES + 0x80,
		(long)(IMAGE_PHYS - (TEXT - 0xffffffff80000000)), names);

	uint32_t header[3] = { 11, strlen(text), 0 };

	memcpy(memory_at(target, phys), header, sizeof(header));
	memcpy(memory_at(target, phys + 12), "VMCOREINFO\0", 12);
	memcpy(memory_at(target, phys + 24), text, strlen(text));
}

static struct gs_target *make_kernel(bool named)
{
	struct gs_target *target = memory_target(0, MEMORY_SIZE);
	uint64_t *tables = memory_at(target, IMAGE_PHYS + TABLES);
	uint32_t cpus = 2;

	make_symbols();

	struct made_table made = make_kallsyms(memory_at(target, IMAGE_PHYS), SYMBOLS_SIZE, TEXT, 4,
					       symbols, COUNT, KALLSYMS_PLACE_RELATIVE, 0, false);

	// PGD, PUD and a PMD that maps the image with one 2M leaf.
	tables[511] = (IMAGE_PHYS + TABLES + 0x1000) | 3;
	tables[512 + 510] = (IMAGE_PHYS + TABLES + 0x2000) | 3;
	tables[1024 + 8] = IMAGE_PHYS | 0x83;
	memcpy(memory_at(target, IMAGE_PHYS + VARIABLES + 0x40), &cpus, sizeof(cpus));
	put_note(target, NOTE_PHYS, "9.9-test", TEXT + TABLES, named, &made.tables);
	return target;
}

static void opens_a_kernel_that_names_its_tables_or_not(void **state)
{
	(void)state;
	for (int named = 0; named < 2; named++) {
		struct gs_target *target = make_kernel(named);
		struct gs_kernel *kernel;
		struct gs_kernel_facts facts;
		char text[64];
		uint64_t address;

		assert_null(gs_kernel_open(target, NULL, &kernel));
		gs_kernel_facts(kernel, &facts);
		assert_string_equal(gs_kernel_release(kernel), "9.9-test");
		assert_int_equal(facts.kallsyms_named, named);
		assert_string_equal(facts.kallsyms_encoding, "place-relative");
		assert_int_equal(facts.symbols, COUNT);
		assert_int_equal(facts.note_phys, NOTE_PHYS);
		assert_int_equal(facts.btf_size, 0);
		assert_int_equal(facts.cpus, 2);
		// No variable, so the default; and no direct map in these page tables, so none is
		// believed.
		assert_int_equal(facts.page_offset_base, UINT64_C(0xffff888000000000));
		assert_int_equal(gs_kernel_map(kernel)->direct_size, 0);
		assert_int_equal(gs_kernel_map(kernel)->image_phys, IMAGE_PHYS);
		assert_int_equal(gs_kernel_map(kernel)->page_struct_size, 64);
		assert_null(gs_kernel_find_symbol(kernel, "function_100", &address));
		gs_kernel_symbolize(kernel, address + 3, text, sizeof(text));
		assert_string_equal(text, "function_100+0x3/0x10");
		gs_kernel_symbolize(kernel, 0x1234, text, sizeof(text));
		assert_string_equal(text, "0x1234");
		gs_kernel_close(kernel);
		gs_target_close(target);
	}
}

static void passes_over_stale_notes(void **state)
{
	struct gs_target *target = make_kernel(true);
	struct gs_kernel *kernel;

	(void)state;
	// Found first, but their page tables are gone.
	put_note(target, 0, "1.0-stale", TEXT + 0x1a0000, false, NULL);
	put_note(target, 0x5000, "2.0-stale", UINT64_C(0xffffffffc0000000), false, NULL);
	assert_null(gs_kernel_open(target, NULL, &kernel));
	assert_string_equal(gs_kernel_release(kernel), "9.9-test");
	gs_kernel_close(kernel);
	gs_target_close(target);
}

static void assert_no_kernel(struct gs_target *target)
{
	struct gs_kernel *kernel;
	struct gs_error *err = gs_kernel_open(target, NULL, &kernel);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_KERNEL);
	assert_null(strchr(err->message, '\n'));
	gs_error_destroy(err);
	gs_target_close(target);
}

static void refuses_memory_without_a_kernel(void **state)
{
	struct gs_target *target = memory_target(0, MEMORY_SIZE);
	uint32_t noise = 1;

	(void)state;
	assert_no_kernel(target);
	target = memory_target(0, MEMORY_SIZE);
	for (uint64_t i = 0; i < MEMORY_SIZE; i++) {
		noise = noise * 1664525 + 1013904223;
		*(uint8_t *)memory_at(target, i) = noise >> 24;
	}
	assert_no_kernel(target);

	// Cut off in the image, behind the note.
	target = make_kernel(true);
	target->segment.size = IMAGE_PHYS + 0x1000;
	assert_no_kernel(target);

	// No symbols.
	target = make_kernel(false);
	memset(memory_at(target, IMAGE_PHYS), 0, SYMBOLS_SIZE);
	assert_no_kernel(target);

	// Memory full of notes.
	target = memory_target(0, MEMORY_SIZE);
	for (uint64_t phys = 0; phys < MEMORY_SIZE; phys += GS_PAGE_SIZE)
		put_note(target, phys, "6.6.6", TEXT, false, NULL);
	assert_no_kernel(target);
}

static void says_what_a_kernel_lacks(void **state)
{
	struct gs_target *target = make_kernel(true);
	struct gs_kernel *kernel;
	struct gs_module *modules;
	struct btf *btf;
	uint64_t address;
	char buf[16];
	size_t count;

	(void)state;
	assert_null(gs_kernel_open(target, NULL, &kernel));

	struct gs_error *errors[] = {
		gs_kernel_btf(kernel, &btf),
		gs_kernel_modules(kernel, &modules, &count),
		gs_kernel_find_symbol(kernel, "absent", &address),
		gs_kernel_read(kernel, 0xffff888000000000, buf, sizeof(buf)),
		gs_kernel_translate(kernel, 0x7000000000000000, &address),
		gs_kernel_read_string(kernel, TEXT + IMAGE_SIZE, buf, sizeof(buf)),
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		assert_non_null(errors[i]);
		assert_int_equal(errors[i]->code, GS_ERROR_KERNEL);
		gs_error_destroy(errors[i]);
	}
	gs_kernel_close(kernel);
	gs_target_close(target);
}

static void survives_changed_bytes(void **state)
{
	struct gs_target *target = make_kernel(true);
	uint32_t noise = 7;

	(void)state;
	// The note, and the tables of pages and symbols: where every byte matters.
	for (int i = 0; i < 2000; i++) {
		static const uint64_t starts[] = { NOTE_PHYS, IMAGE_PHYS + 4096,
						   IMAGE_PHYS + TABLES };
		static const uint64_t lengths[] = { 512, 16384, 3 * 4096 };

		noise = noise * 1664525 + 1013904223;

		int which = (noise >> 8) % 3;
		uint8_t *byte = memory_at(target, starts[which] + (noise >> 10) % lengths[which]);
		uint8_t saved = *byte;
		struct gs_kernel *kernel;
		char text[64];

		*byte ^= 1 << (noise >> 29);

		struct gs_error *err = gs_kernel_open(target, NULL, &kernel);

		if (!err) {
			gs_kernel_symbolize(kernel, TEXT + 0x1234, text, sizeof(text));
			gs_kernel_close(kernel);
		}
		gs_error_destroy(err);
		*byte = saved;
	}
	gs_target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_a_kernel_that_names_its_tables_or_not),
		cmocka_unit_test(passes_over_stale_notes),
		cmocka_unit_test(refuses_memory_without_a_kernel),
		cmocka_unit_test(says_what_a_kernel_lacks),
		cmocka_unit_test(survives_changed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
