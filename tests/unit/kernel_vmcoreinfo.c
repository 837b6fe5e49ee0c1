// SPDX-License-Identifier: Apache-2.0
#include "kernel/vmcoreinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel_memory.h"

static const char text[] =
	"OSRELEASE=6.1.0-test\nPAGESIZE=4096\n"
	"SYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=-4096\n"
	"NUMBER(VMALLOC_START)=0xff72000000000000\nSIZE(page)=64\nKERNELOFFSET=1f000000\n"
	"NUMBER(bad)=12x\nNUMBER(blank)= 1\nNUMBER(huge)=99999999999999999999\n"
	"SYMBOL(_stext_long)=1\n";

static void put_note(void *at, const char *desc, uint32_t size)
{
	uint32_t header[3] = { 11, size, 0 };

	memcpy(at, header, sizeof(header));
	memcpy((char *)at + 12, "VMCOREINFO\0", 12);
	memcpy((char *)at + 24, desc, strlen(desc));
}

static struct vmcoreinfo parse(const char *desc)
{
	uint8_t note[8192] = { 0 };
	struct vmcoreinfo info = { 0 };

	put_note(note, desc, strlen(desc));
	assert_true(vmcoreinfo_parse(note, sizeof(note), &info));
	return info;
}

static void reads_symbols_numbers_and_sizes(void **state)
{
	struct vmcoreinfo info = parse(text);
	uint64_t value;
	int64_t number;

	(void)state;
	assert_string_equal(info.release, "6.1.0-test");
	assert_true(vmcoreinfo_symbol(&info, "_stext", &value));
	assert_int_equal(value, 0xffffffff81000000);
	assert_true(vmcoreinfo_number(&info, "phys_base", &number));
	assert_int_equal(number, -4096);
	assert_true(vmcoreinfo_number(&info, "VMALLOC_START", &number));
	assert_int_equal(number, (int64_t)0xff72000000000000);
	assert_true(vmcoreinfo_sizeof(&info, "page", &value));
	assert_int_equal(value, 64);
	assert_true(vmcoreinfo_hex(&info, "KERNELOFFSET", &value));
	assert_int_equal(value, 0x1f000000);
}

static void refuses_damaged_values(void **state)
{
	struct vmcoreinfo info = parse(text);
	uint64_t value;
	int64_t number;

	(void)state;
	assert_false(vmcoreinfo_number(&info, "bad", &number));
	assert_false(vmcoreinfo_number(&info, "blank", &number));
	assert_false(vmcoreinfo_number(&info, "huge", &number));
	assert_false(vmcoreinfo_symbol(&info, "absent", &value));
	// A name that is the beginning of another one.
	assert_false(vmcoreinfo_symbol(&info, "_stext_lon", &value));
}

static void refuses_what_is_no_note(void **state)
{
	uint8_t note[8192] = { 0 };
	struct vmcoreinfo info;

	(void)state;
	put_note(note, text, 0);
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
	put_note(note, text, UINT32_MAX);
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
	put_note(note, text, 4097);
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
	// Longer than the memory that is there.
	put_note(note, text, 4096);
	assert_false(vmcoreinfo_parse(note, 4096, &info));
	put_note(note, text, sizeof(text) - 1);
	note[8] = 1;
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
	assert_false(vmcoreinfo_parse(note, 3, &info));
}

static void refuses_a_release_that_a_terminal_would_obey(void **state)
{
	uint8_t note[8192] = { 0 };
	struct vmcoreinfo info;
	static const char evil[] = "OSRELEASE=6.1\033[2J\n";
	static const char empty[] = "OSRELEASE=\n";

	(void)state;
	put_note(note, evil, strlen(evil));
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
	put_note(note, empty, strlen(empty));
	assert_false(vmcoreinfo_parse(note, sizeof(note), &info));
}

static void finds_notes_and_passes_decoys(void **state)
{
	uint64_t size = 40 << 20;
	struct gs_target *target = memory_target(0x100000, size);
	struct vmcoreinfo_search search;
	struct vmcoreinfo info;
	// The text without its header; the note beside a page boundary; the note of a page.
	uint64_t bare = 0x100000 + 5 * 4096, shifted = 0x100000 + 7 * 4096 + 64;
	uint64_t low = 0x100000 + (9 << 20), high = 0x100000 + size - 4096 * 3;
	bool seen_low = false, seen_high = false;
	int count = 0;

	(void)state;
	memcpy(memory_at(target, bare), text, sizeof(text));
	put_note(memory_at(target, shifted), text, sizeof(text) - 1);
	put_note(memory_at(target, low), text, sizeof(text) - 1);
	put_note(memory_at(target, high), text, sizeof(text) - 1);
	// At the very end, so that its text lies outside memory.
	put_note(memory_at(target, 0x100000 + size - 4096), text, 4096);

	vmcoreinfo_search_init(&search, target);
	while (vmcoreinfo_search_next(&search, &info)) {
		seen_low |= info.phys == low;
		seen_high |= info.phys == high;
		count++;
	}
	assert_true(seen_low && seen_high);
	assert_int_equal(count, 2);
	gs_target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_symbols_numbers_and_sizes),
		cmocka_unit_test(refuses_damaged_values),
		cmocka_unit_test(refuses_what_is_no_note),
		cmocka_unit_test(refuses_a_release_that_a_terminal_would_obey),
		cmocka_unit_test(finds_notes_and_passes_decoys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
