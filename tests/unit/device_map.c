// SPDX-License-Identifier: Apache-2.0
// Translation and loads of the device runtime, on synthetic memory.
#include "device_memory.h"

#define MAGIC UINT64_C(0x1122334455667788)

static void assert_fails(struct machine *m, uint64_t address)
{
	uint64_t faults = m->ctx.faults;

	assert_int_equal(gs_rt_load64(&m->ctx, address), 0);
	assert_int_equal(m->ctx.faults, faults + 1);
}

static void direct_map_is_arithmetic(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_put64(m, RAM_PHYS + 5 * PAGE + 16, MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, DIRECT + RAM_PHYS + 5 * PAGE + 16), MAGIC);
	assert_int_equal(gs_rt_load32(&m->ctx, DIRECT + RAM_PHYS + 5 * PAGE + 16), 0x55667788);
	assert_int_equal(gs_rt_load16(&m->ctx, DIRECT + RAM_PHYS + 5 * PAGE + 18), 0x5566);
	assert_int_equal(gs_rt_load8(&m->ctx, DIRECT + RAM_PHYS + 5 * PAGE + 23), 0x11);
	machine_put64(m, HIGH_PHYS + 8, MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, DIRECT + HIGH_PHYS + 8), MAGIC);
	assert_int_equal(m->ctx.walks, 0);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

static void kernel_image_is_arithmetic(void **state)
{
	struct machine *m = machine_create(5);

	(void)state;
	machine_put64(m, RAM_PHYS + 64 * PAGE, MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, IMAGE), MAGIC);
	assert_int_equal(m->ctx.walks, 0);
	assert_fails(m, IMAGE + 64 * PAGE);
	machine_destroy(m);
}

static void check_leaves(unsigned int levels)
{
	struct machine *m = machine_create(levels);
	uint64_t data = RAM_PHYS + 200 * PAGE;

	machine_put64(m, data + 24, MAGIC);
	machine_put64(m, HIGH_PHYS + 2 * PAGE + 8, ~MAGIC);

	machine_map(m, VMALLOC, data, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC + 24), MAGIC);

	// A 2 MiB page, found at an offset that is not its first 4 KiB. Bit 12 is PAT and no
	// address.
	machine_put64(m, machine_entry(m, VMALLOC + (UINT64_C(1) << 30), 2),
		      HIGH_PHYS | PRESENT | LEAF | 0x1000);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC + (UINT64_C(1) << 30) + 2 * PAGE + 8),
			 ~MAGIC);

	machine_map(m, VMALLOC + (UINT64_C(2) << 30), HIGH_PHYS, 3);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC + (UINT64_C(2) << 30) + 2 * PAGE + 8),
			 ~MAGIC);

	assert_int_equal(m->ctx.walks, 3);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

static void walks_four_levels(void **state)
{
	(void)state;
	check_leaves(4);
}

static void walks_five_levels(void **state)
{
	(void)state;
	check_leaves(5);
}

static void other_depths_fail(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	m->map.levels = 3;
	gs_rt_begin_run(&m->ctx);
	assert_fails(m, VMALLOC);
	m->map.levels = 6;
	gs_rt_begin_run(&m->ctx);
	assert_fails(m, VMALLOC);
	m->map.levels = UINT32_MAX;
	gs_rt_begin_run(&m->ctx);
	assert_fails(m, VMALLOC);
	machine_destroy(m);
}

static void noncanonical_addresses_fail(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	assert_fails(m, VMALLOC ^ (UINT64_C(1) << 62));
	assert_fails(m, VMALLOC ^ (UINT64_C(1) << 48));
	assert_fails(m, VMALLOC + GS_PTE_ADDR);
	// What an absent field adds to a pointer.
	assert_fails(m, (DIRECT + RAM_PHYS) + (UINT64_C(1) << 62));
	assert_int_equal(m->ctx.fault_address, VMALLOC ^ (UINT64_C(1) << 62));
	machine_destroy(m);
}

static void five_levels_make_more_addresses_canonical(void **state)
{
	struct machine *m = machine_create(5);
	uint64_t address = UINT64_C(0xff11000000000000);

	(void)state;
	machine_put64(m, RAM_PHYS + 200 * PAGE, MAGIC);
	machine_map(m, address, RAM_PHYS + 200 * PAGE, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, address), MAGIC);
	assert_fails(m, UINT64_C(0xfe11000000000000));
	machine_destroy(m);
}

static void first_failing_address_is_kept(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	assert_fails(m, 0x10);
	assert_fails(m, VMALLOC + 0x20);
	assert_int_equal(m->ctx.faults, 2);
	assert_int_equal(m->ctx.fault_address, 0x10);
	machine_destroy(m);
}

static void loads_across_pages_are_assembled(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t a = RAM_PHYS + 220 * PAGE, b = RAM_PHYS + 210 * PAGE;

	(void)state;
	// Neighbours in virtual memory, not in physical memory.
	machine_map(m, VMALLOC, a, 1);
	machine_map(m, VMALLOC + PAGE, b, 1);
	memcpy(machine_at(m, a + PAGE - 3), "\x88\x77\x66", 3);
	memcpy(machine_at(m, b), "\x55\x44\x33\x22\x11", 5);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC + PAGE - 3), MAGIC);
	assert_int_equal(gs_rt_load32(&m->ctx, VMALLOC + PAGE - 3), 0x55667788);
	assert_int_equal(gs_rt_load16(&m->ctx, VMALLOC + PAGE - 1), 0x5566);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

static void half_a_load_is_a_failed_load(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	memset(machine_at(m, RAM_PHYS + 200 * PAGE), 0xff, PAGE);
	assert_fails(m, VMALLOC + PAGE - 4);
	assert_int_equal(m->ctx.fault_address, VMALLOC + PAGE - 4);
	assert_fails(m, VMALLOC - 4);
	machine_destroy(m);
}

static void the_address_space_does_not_wrap(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, UINT64_MAX & ~(PAGE - 1), RAM_PHYS + 200 * PAGE, 1);
	machine_map(m, 0, RAM_PHYS + 201 * PAGE, 1);
	memset(machine_at(m, RAM_PHYS + 200 * PAGE), 0xff, 2 * PAGE);
	assert_int_equal(gs_rt_load8(&m->ctx, UINT64_MAX), 0xff);
	assert_fails(m, UINT64_MAX - 3);

	uint8_t local[16] = { 1, 2, 3 };

	gs_rt_copy(&m->ctx, local, UINT64_MAX - 3, sizeof(local));
	assert_int_equal(m->ctx.faults, 2);
	for (size_t i = 0; i < sizeof(local); i++)
		assert_int_equal(local[i], 0);
	machine_destroy(m);
}

static void segments_end(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t end = DIRECT + RAM_PHYS + PAGES * PAGE;

	(void)state;
	machine_put64(m, RAM_PHYS + PAGES * PAGE - 8, MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, end - 8), MAGIC);
	assert_fails(m, end - 4);
	assert_fails(m, end);
	assert_fails(m, DIRECT + RAM_PHYS - 8);
	assert_fails(m, DIRECT + HIGH_PHYS + HIGH_PAGES * PAGE);
	// A segment that ends within a page: the page cannot be read through it.
	m->segments[1].end -= 100;
	gs_rt_begin_run(&m->ctx);
	assert_fails(m, DIRECT + m->segments[1].end - 8);
	machine_destroy(m);
}

static void the_segment_table_may_be_empty_or_too_long(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	m->map.segment_count = 0;
	gs_rt_begin_run(&m->ctx);
	m->ctx.segment_hint = UINT32_MAX;
	assert_fails(m, DIRECT + RAM_PHYS);
	machine_destroy(m);
}

static void holes_are_not_read(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	m->present[0] &= ~(UINT64_C(1) << 40);
	assert_fails(m, DIRECT + RAM_PHYS + 40 * PAGE);

	m->ctx.fault_fn = (uint64_t)machine_fault;
	m->ctx.fault_arg = (uint64_t)m;
	m->fault_allows = 41;
	assert_fails(m, DIRECT + RAM_PHYS + 40 * PAGE);
	assert_int_equal(m->faults_asked, 1);

	m->fault_allows = 40;
	machine_put64(m, RAM_PHYS + 40 * PAGE, MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, DIRECT + RAM_PHYS + 40 * PAGE), MAGIC);
	assert_int_equal(gs_rt_load64(&m->ctx, DIRECT + RAM_PHYS + 40 * PAGE), MAGIC);
	assert_int_equal(m->faults_asked, 2);
	machine_destroy(m);
}

static void page_tables_in_holes_are_not_read(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	// The page that the top-level table's entry points to.
	m->present[0] &= ~(UINT64_C(1) << 1);
	assert_fails(m, VMALLOC);
	machine_destroy(m);
}

static void entries_may_point_anywhere(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t top = machine_entry(m, VMALLOC, 4);

	(void)state;
	// Not present, though the rest is set.
	machine_put64(m, top, ~PRESENT);
	assert_fails(m, VMALLOC);
	// Outside all memory.
	machine_put64(m, top, ~LEAF);
	assert_fails(m, VMALLOC);
	machine_put64(m, top, UINT64_C(0x80000000) | PRESENT);
	assert_fails(m, VMALLOC);
	// A leaf where the processor has none.
	machine_put64(m, top, RAM_PHYS | PRESENT | LEAF);
	assert_fails(m, VMALLOC);
	m->map.root_phys = UINT64_MAX;
	gs_rt_begin_run(&m->ctx);
	assert_fails(m, VMALLOC);
	machine_destroy(m);
}

static void tables_that_contain_themselves_end(void **state)
{
	struct machine *m = machine_create(5);

	(void)state;
	// Every entry of the top-level table is the table: the walk ends on it after five steps.
	for (uint64_t i = 0; i < 512; i++)
		machine_put64(m, RAM_PHYS + 8 * i, RAM_PHYS | PRESENT);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), RAM_PHYS | PRESENT);
	assert_int_equal(m->ctx.walks, 1);
	machine_destroy(m);
}

static void encryption_bits_are_masked(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t c_bit = UINT64_C(1) << 47;

	(void)state;
	m->map.phys_mask &= ~c_bit;
	gs_rt_begin_run(&m->ctx);
	machine_put64(m, RAM_PHYS + 200 * PAGE, MAGIC);
	machine_map(m, VMALLOC, (RAM_PHYS + 200 * PAGE) | c_bit, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), MAGIC);
	machine_destroy(m);
}

static void translations_last_for_a_run(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_put64(m, RAM_PHYS + 200 * PAGE, 1);
	machine_put64(m, RAM_PHYS + 201 * PAGE, 2);
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), 1);
	machine_map(m, VMALLOC, RAM_PHYS + 201 * PAGE, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), 1);
	assert_int_equal(m->ctx.walks, 1);
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), 2);
	// A page that was absent may come within a run: failures are not remembered.
	assert_fails(m, VMALLOC + PAGE);
	machine_map(m, VMALLOC + PAGE, RAM_PHYS + 200 * PAGE, 1);
	assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC + PAGE), 1);
	machine_destroy(m);
}

static void pages_that_share_a_tlb_entry_do_not_mix(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t other = VMALLOC + GS_TLB_PAGES * PAGE;

	(void)state;
	machine_put64(m, RAM_PHYS + 200 * PAGE, 1);
	machine_put64(m, RAM_PHYS + 201 * PAGE, 2);
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	machine_map(m, other, RAM_PHYS + 201 * PAGE, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(gs_rt_load64(&m->ctx, VMALLOC), 1);
		assert_int_equal(gs_rt_load64(&m->ctx, other), 2);
	}
	assert_int_equal(m->ctx.walks, 6);
	machine_destroy(m);
}

static void copies_cross_pages_and_holes(void **state)
{
	struct machine *m = machine_create(4);
	uint8_t local[3 * 4096 + 32];

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	machine_map(m, VMALLOC + 2 * PAGE, RAM_PHYS + 190 * PAGE, 1);
	memset(machine_at(m, RAM_PHYS + 200 * PAGE), 0xaa, PAGE);
	memset(machine_at(m, RAM_PHYS + 190 * PAGE), 0xbb, PAGE);
	memset(local, 0xcc, sizeof(local));
	gs_rt_copy(&m->ctx, local, VMALLOC + 5, 3 * PAGE - 10);
	assert_int_equal(m->ctx.faults, 1);
	assert_int_equal(m->ctx.fault_address, VMALLOC + PAGE);
	for (size_t i = 0; i < 3 * PAGE - 10; i++) {
		size_t page = (i + 5) / PAGE;

		assert_int_equal(local[i], page == 0 ? 0xaa : page == 1 ? 0 : 0xbb);
	}
	assert_int_equal(local[3 * PAGE - 10], 0xcc);
	gs_rt_copy(&m->ctx, local, VMALLOC, 0);
	assert_int_equal(local[0], 0xaa);
	machine_destroy(m);
}

static void budgets_end_runs(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	m->ctx.budget = 2;
	assert_true(gs_rt_edge(&m->ctx, 7));
	assert_true(gs_rt_edge(&m->ctx, 7));
	assert_false(gs_rt_edge(&m->ctx, 8));
	assert_false(gs_rt_edge(&m->ctx, 9));
	gs_rt_stop(&m->ctx, GS_STOP_TRAP, 10);
	assert_int_equal(m->ctx.stop, GS_STOP_BUDGET);
	assert_int_equal(m->ctx.stop_site, 8);
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(m->ctx.stop, GS_STOP_NONE);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(direct_map_is_arithmetic),
		cmocka_unit_test(kernel_image_is_arithmetic),
		cmocka_unit_test(walks_four_levels),
		cmocka_unit_test(walks_five_levels),
		cmocka_unit_test(other_depths_fail),
		cmocka_unit_test(noncanonical_addresses_fail),
		cmocka_unit_test(five_levels_make_more_addresses_canonical),
		cmocka_unit_test(first_failing_address_is_kept),
		cmocka_unit_test(loads_across_pages_are_assembled),
		cmocka_unit_test(half_a_load_is_a_failed_load),
		cmocka_unit_test(the_address_space_does_not_wrap),
		cmocka_unit_test(segments_end),
		cmocka_unit_test(the_segment_table_may_be_empty_or_too_long),
		cmocka_unit_test(holes_are_not_read),
		cmocka_unit_test(page_tables_in_holes_are_not_read),
		cmocka_unit_test(entries_may_point_anywhere),
		cmocka_unit_test(tables_that_contain_themselves_end),
		cmocka_unit_test(encryption_bits_are_masked),
		cmocka_unit_test(translations_last_for_a_run),
		cmocka_unit_test(pages_that_share_a_tlb_entry_do_not_mix),
		cmocka_unit_test(copies_cross_pages_and_holes),
		cmocka_unit_test(budgets_end_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
