// SPDX-License-Identifier: Apache-2.0
#include "kernel/pgtable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <gpusentinel/map.h>

#include "kernel_memory.h"

enum {
	ROOT = 0x1000,
	PRESENT = 1,
	PS = 1 << 7,
};

static const uint64_t address = 0xffffffff8a123456;

struct fixture {
	struct gs_target *target;
	struct pgtable pgtable;
	uint64_t next;
};

static struct fixture begin(unsigned int levels)
{
	struct fixture fixture = {
		.target = memory_target(0, 64 * 4096),
		.next = ROOT + 4096,
	};

	fixture.pgtable = (struct pgtable){ fixture.target, ROOT, levels, GS_PTE_ADDR };
	return fixture;
}

static uint64_t *entry_of(struct fixture *fixture, uint64_t table, uint64_t virt,
			  unsigned int level)
{
	return (uint64_t *)memory_at(fixture->target, table) +
	       ((virt >> (12 + 9 * (level - 1))) & 511);
}

// Make the path to a leaf at @leaf_level; gives the address of the leaf's entry.
static uint64_t *map_path(struct fixture *fixture, uint64_t virt, unsigned int leaf_level,
			  uint64_t leaf)
{
	uint64_t table = ROOT;

	for (unsigned int level = fixture->pgtable.levels; level > leaf_level; level--) {
		uint64_t *entry = entry_of(fixture, table, virt, level);

		if (!(*entry & PRESENT)) {
			*entry = fixture->next | PRESENT | PTE_RW;
			fixture->next += 4096;
		}
		table = *entry & GS_PTE_ADDR;
	}

	uint64_t *entry = entry_of(fixture, table, virt, leaf_level);

	*entry = leaf;
	return entry;
}

static enum gs_error_code walk(struct fixture *fixture, uint64_t virt, struct pgtable_leaf *leaf)
{
	struct gs_error *err = pgtable_walk(&fixture->pgtable, virt, leaf);
	enum gs_error_code code = err ? err->code : GS_OK;

	gs_error_destroy(err);
	return code;
}

static void translates_each_leaf_size_at_each_depth(void **state)
{
	static const struct {
		unsigned int level;
		uint64_t size;
	} leaves[] = { { 1, UINT64_C(1) << 12 },
		       { 2, UINT64_C(1) << 21 },
		       { 3, UINT64_C(1) << 30 } };

	(void)state;
	for (unsigned int levels = 4; levels <= 5; levels++) {
		for (int i = 0; i < 3; i++) {
			struct fixture fixture = begin(levels);
			uint64_t base = UINT64_C(0x12340000000) & ~(leaves[i].size - 1);
			// Bit 12 of a large leaf is PAT, not an address.
			uint64_t pat = leaves[i].level > 1 ? PS | 1 << 12 : PS;
			struct pgtable_leaf leaf;

			map_path(&fixture, address, leaves[i].level,
				 base | PRESENT | PTE_NX | PTE_RW | pat);
			assert_int_equal(walk(&fixture, address, &leaf), GS_OK);
			assert_int_equal(leaf.phys, base + (address & (leaves[i].size - 1)));
			assert_int_equal(leaf.size, leaves[i].size);
			assert_int_equal(leaf.flags, PTE_NX | PTE_RW);
			gs_target_close(fixture.target);
		}
	}
}

static void leaves_encryption_bits_out(void **state)
{
	struct fixture fixture = begin(4);
	struct pgtable_leaf leaf;
	uint64_t c_bit = UINT64_C(1) << 47;

	(void)state;
	fixture.pgtable.phys_mask &= ~c_bit;
	map_path(&fixture, address, 1, 0x5000 | PRESENT | c_bit);
	assert_int_equal(walk(&fixture, address, &leaf), GS_OK);
	assert_int_equal(leaf.phys, 0x5456);
	gs_target_close(fixture.target);
}

static void refuses_what_is_not_mapped(void **state)
{
	struct fixture fixture = begin(4);
	struct pgtable_leaf leaf;

	(void)state;
	assert_int_equal(walk(&fixture, address, &leaf), GS_ERROR_KERNEL);
	map_path(&fixture, address, 1, 0x5000);
	assert_int_equal(walk(&fixture, address, &leaf), GS_ERROR_KERNEL);
	// Not canonical with 4 levels, canonical with 5.
	assert_int_equal(walk(&fixture, 0x0000800000000000, &leaf), GS_ERROR_KERNEL);
	assert_int_equal(walk(&fixture, 0xff11000000000000, &leaf), GS_ERROR_KERNEL);
	fixture.pgtable.levels = 3;
	assert_int_equal(walk(&fixture, address, &leaf), GS_ERROR_KERNEL);
	gs_target_close(fixture.target);
}

static void refuses_tables_that_loop(void **state)
{
	struct fixture fixture = begin(4);
	struct pgtable_leaf leaf;

	(void)state;
	// The PUD entry points back to the PGD.
	map_path(&fixture, address, 3, ROOT | PRESENT);

	struct gs_error *err = pgtable_walk(&fixture.pgtable, address, &leaf);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_KERNEL);
	assert_non_null(strstr(err->message, "loop"));
	gs_error_destroy(err);
	gs_target_close(fixture.target);
}

static void refuses_tables_outside_memory(void **state)
{
	struct fixture fixture = begin(5);
	struct pgtable_leaf leaf;

	(void)state;
	map_path(&fixture, address, 2, UINT64_C(0xfffffffff000) | PRESENT);
	assert_true(walk(&fixture, address, &leaf) != GS_OK);
	fixture.pgtable.root = UINT64_C(1) << 40;
	assert_true(walk(&fixture, address, &leaf) != GS_OK);
	gs_target_close(fixture.target);
}

static void refuses_a_reserved_leaf(void **state)
{
	struct fixture fixture = begin(5);
	struct pgtable_leaf leaf;

	(void)state;
	map_path(&fixture, address, 4, 0x5000 | PRESENT | PS);
	assert_int_equal(walk(&fixture, address, &leaf), GS_ERROR_KERNEL);
	gs_target_close(fixture.target);
}

struct collected {
	struct pgtable_range ranges[8];
	size_t count, limit;
};

static bool collect(void *arg, const struct pgtable_range *range)
{
	struct collected *collected = arg;

	if (collected->count < 8)
		collected->ranges[collected->count] = *range;
	return ++collected->count < collected->limit;
}

static void lists_ranges_merged(void **state)
{
	struct fixture fixture = begin(4);
	struct collected collected = { .limit = 100 };
	uint64_t base = 0xffffffff8a000000;

	(void)state;
	// Three pages in a row, the third without write permission; one elsewhere; a large one.
	map_path(&fixture, base, 1, 0x10000 | PRESENT | PTE_RW);
	map_path(&fixture, base + 0x1000, 1, 0x11000 | PRESENT | PTE_RW);
	map_path(&fixture, base + 0x2000, 1, 0x12000 | PRESENT);
	map_path(&fixture, 0x7000, 1, 0x20000 | PRESENT | PTE_RW);
	map_path(&fixture, base + 0x200000, 2, 0x400000 | PRESENT | PS);

	assert_null(pgtable_for_each(&fixture.pgtable, 0, UINT64_MAX, collect, &collected));
	assert_int_equal(collected.count, 4);
	assert_int_equal(collected.ranges[0].start, 0x7000);
	assert_int_equal(collected.ranges[1].start, base);
	assert_int_equal(collected.ranges[1].size, 0x2000);
	assert_int_equal(collected.ranges[2].flags, 0);
	assert_int_equal(collected.ranges[3].size, 0x200000);

	// Cut to what was asked for, in the middle of the large page.
	collected = (struct collected){ .limit = 100 };
	assert_null(pgtable_for_each(&fixture.pgtable, base + 0x300000, base + 0x3fffff, collect,
				     &collected));
	assert_int_equal(collected.count, 1);
	assert_int_equal(collected.ranges[0].start, base + 0x300000);
	assert_int_equal(collected.ranges[0].phys, 0x500000);
	assert_int_equal(collected.ranges[0].size, 0x100000);

	collected = (struct collected){ .limit = 1 };
	assert_null(pgtable_for_each(&fixture.pgtable, 0, UINT64_MAX, collect, &collected));
	assert_int_equal(collected.count, 1);
	gs_target_close(fixture.target);
}

static void ends_on_tables_that_stand_for_everything(void **state)
{
	struct fixture fixture = begin(4);
	struct collected collected = { .limit = SIZE_MAX };

	(void)state;
	// Every entry of each level points to the one table of the next: 512^4 pages out of four
	// tables.
	for (int level = 4; level > 0; level--) {
		uint64_t *table = memory_at(fixture.target, ROOT + (4 - level) * 4096);

		for (int i = 0; i < 512; i++)
			table[i] = (level > 1 ? ROOT + (5 - level) * 4096 : 0x20000) | PRESENT;
	}

	struct gs_error *err =
		pgtable_for_each(&fixture.pgtable, 0, UINT64_MAX, collect, &collected);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_INCOMPLETE);
	gs_error_destroy(err);
	gs_target_close(fixture.target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translates_each_leaf_size_at_each_depth),
		cmocka_unit_test(leaves_encryption_bits_out),
		cmocka_unit_test(refuses_what_is_not_mapped),
		cmocka_unit_test(refuses_tables_that_loop),
		cmocka_unit_test(refuses_tables_outside_memory),
		cmocka_unit_test(refuses_a_reserved_leaf),
		cmocka_unit_test(lists_ranges_merged),
		cmocka_unit_test(ends_on_tables_that_stand_for_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
