// SPDX-License-Identifier: Apache-2.0
// Reading QEMU's "info mtree -f". The samples are QEMU 7.2's own words.
#include "target_support.h"

#include "target/mtree.h"

#define IO_VIEW                       \
	"FlatView #0\r\n"             \
	" AS \"I/O\", root: io\r\n"   \
	" Root memory region: io\r\n" \
	"  0000000000000000-000000000000ffff (prio 0, i/o): io\r\n\r\n"

#define MEMORY_VIEW                              \
	"FlatView #1\r\n"                        \
	" AS \"memory\", root: system\r\n"       \
	" AS \"cpu-memory-0\", root: system\r\n" \
	" Root memory region: system\r\n"

static void assert_range(const struct gs_mtree_range *range, uint64_t phys, uint64_t size,
			 uint64_t offset, const char *region)
{
	assert_int_equal(range->phys, phys);
	assert_int_equal(range->size, size);
	assert_int_equal(range->offset, offset);
	assert_int_equal(range->region_len, strlen(region));
	assert_memory_equal(range->region, region, range->region_len);
}

static struct gs_mtree_range *parse(const char *text, size_t expected)
{
	struct gs_mtree_range *ranges;
	size_t count;
	struct gs_error *err = gs_mtree_parse(text, &ranges, &count);

	if (err)
		fail_msg("%s", err->message);
	assert_int_equal(count, expected);
	return ranges;
}

static void assert_bad(const char *text)
{
	struct gs_mtree_range *ranges;
	size_t count;
	struct gs_error *err = gs_mtree_parse(text, &ranges, &count);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_TARGET);
	gs_error_destroy(err);
}

static void pc_has_ram_below_and_above_the_bios(void **state)
{
	(void)state;
	struct gs_mtree_range *r = parse(
		IO_VIEW MEMORY_VIEW
		"  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
		"  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
		"  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
		"  0000000000100000-0000000003ffffff (prio 0, ram): ram0 @0000000000100000\r\n"
		"  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
		"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
		"\r\n"
		"FlatView #2\r\n"
		" AS \"cpu-smm-0\", root: memory\r\n"
		" Root memory region: memory\r\n"
		"  0000000000000000-00000000000bffff (prio 0, ram): smm\r\n",
		2);

	assert_range(&r[0], 0, 0xc0000, 0, "ram0");
	assert_range(&r[1], 0x100000, 0x3f00000, 0x100000, "ram0");
	free(r);
}

static void q35_with_4_gib_continues_at_4_gib(void **state)
{
	(void)state;
	struct gs_mtree_range *r = parse(
		MEMORY_VIEW
		"  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
		"  0000000000100000-000000007fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
		"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
		"  0000000100000000-000000017fffffff (prio 0, ram): ram0 @0000000080000000\r\n",
		3);

	assert_range(&r[2], 0x100000000, 0x80000000, 0x80000000, "ram0");
	free(r);
}

static void numa_nodes_are_regions_of_their_own(void **state)
{
	(void)state;
	struct gs_mtree_range *r =
		parse(MEMORY_VIEW
		      "  0000000000100000-000000003fffffff (prio 0, ram): r0 @0000000000100000\r\n"
		      "  0000000040000000-000000007fffffff (prio 0, ram): r1\r\n"
		      "  0000000100000000-000000013fffffff (prio 0, ram): r1 @0000000040000000\r\n",
		      3);

	assert_range(&r[1], 0x40000000, 0x40000000, 0, "r1");
	assert_range(&r[2], 0x100000000, 0x40000000, 0x40000000, "r1");
	free(r);
}

static void kvm_names_itself_behind_each_region(void **state)
{
	(void)state;
	struct gs_mtree_range *r = parse(
		MEMORY_VIEW
		"  0000000000000000-000000000009ffff (prio 0, ram): ram0 KVM\r\n"
		"  0000000000100000-0000000003ffffff (prio 0, ram): ram0 @0000000000100000 KVM\r\n",
		2);

	assert_range(&r[0], 0, 0xa0000, 0, "ram0");
	assert_range(&r[1], 0x100000, 0x3f00000, 0x100000, "ram0");
	free(r);
}

static void old_machine_types_name_the_region_by_its_path(void **state)
{
	(void)state;
	struct gs_mtree_range *r = parse(
		MEMORY_VIEW "  0000000000000000-00000000000bffff (prio 0, ram): /objects/ram0\r\n",
		1);

	assert_range(&r[0], 0, 0xc0000, 0, "/objects/ram0");
	free(r);
}

static void device_memory_and_romd_are_left_out_and_nv_ram_is_not(void **state)
{
	(void)state;
	struct gs_mtree_range *r = parse(
		MEMORY_VIEW "  00000000000c0000-00000000000dffff (prio 1, ramd): vfio bar\n"
			    "  00000000ffc00000-00000000ffffffff (prio 0, romd): system.flash0\n"
			    "  0000000100000000-000000010fffffff (prio 0, nv-ram): nv0\n",
		1);

	assert_range(&r[0], 0x100000000, 0x10000000, 0, "nv0");
	free(r);
}

static void a_view_that_is_not_rendered_has_no_ram(void **state)
{
	(void)state;
	free(parse("FlatView #0\r\n AS \"memory\", root: system\r\n"
		   " Root memory region: (none)\r\n  No rendered FlatView\r\n\r\n",
		   0));
}

static void text_without_the_view_is_refused(void **state)
{
	(void)state;
	assert_bad("");
	assert_bad("\n\n\n");
	assert_bad(IO_VIEW);
	assert_bad("FlatView #0\n AS \"memory\", root: system");
	assert_bad(
		"FlatView #0\n AS \"memory\", root: system\nFlatView #1\n Root memory region: x\n");
}

static void damaged_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"  ",
		"  0-",
		"  0-1",
		"  zzz-1 (prio 0, ram): ram0",
		"  0-fff (prio 0",
		"  0-fff (prio 0, ",
		"  0-fff (prio 0, ram",
		"  0-fff (prio 0, ram)",
		"  0-fff (prio 0, ram):",
		"  0-fff (prio 0, ram): ",
		"  0-fff (prio 0,): x",
		"  fff-0 (prio 0, ram): ram0",
		"  0-ffffffffffffffff (prio 0, ram): ram0",
		"  0-10000000000000000 (prio 0, ram): ram0",
		"  0-fff (prio 0, ram): ram0 @",
		"  0-fff (prio 0, ram): ram0 @ffffffffffffffff",
		"  0-fff (prio 0, ram): ram0 @10000000000000000",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), MEMORY_VIEW "%s", lines[i]);
		assert_bad(text);
		// The next line must not lend what this one lacks.
		snprintf(text, sizeof(text), MEMORY_VIEW "%s\r\n  0-fff (prio 0, ram): ram0\r\n",
			 lines[i]);
		assert_bad(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pc_has_ram_below_and_above_the_bios),
		cmocka_unit_test(q35_with_4_gib_continues_at_4_gib),
		cmocka_unit_test(numa_nodes_are_regions_of_their_own),
		cmocka_unit_test(kvm_names_itself_behind_each_region),
		cmocka_unit_test(old_machine_types_name_the_region_by_its_path),
		cmocka_unit_test(device_memory_and_romd_are_left_out_and_nv_ram_is_not),
		cmocka_unit_test(a_view_that_is_not_rendered_has_no_ram),
		cmocka_unit_test(text_without_the_view_is_refused),
		cmocka_unit_test(damaged_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
