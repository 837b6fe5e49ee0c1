// SPDX-License-Identifier: Apache-2.0
// Stretches of 2 MiB in the TLB, more segments than a block copies, and memory page by page.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rt.h"

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define DIRECT UINT64_C(0xffff888000000000)
#define IMAGE UINT64_C(0xffffffff81000000)
#define VMALLOC UINT64_C(0xffffc90000000000)
// Memory begins in the middle of a stretch, and ends in the middle of another one.
#define RAM_PHYS (UINT64_C(5) * MIB)
#define RAM_SIZE (UINT64_C(8) * MIB)
#define SMALL_PHYS (UINT64_C(64) * MIB)

enum { SMALL = 40, WORDS = RAM_SIZE / PAGE / 64 };

struct machine {
	struct gs_ctx ctx;
	struct gs_block block;
	struct gs_map map;
	struct gs_map_segment segments[1 + SMALL];
	uint64_t present[WORDS];
	uint8_t *ram, *small;
};

static uint64_t *at(struct machine *m, uint64_t phys)
{
	return (uint64_t *)(phys < SMALL_PHYS ? m->ram + (phys - RAM_PHYS)
					      : m->small + (phys - SMALL_PHYS) / 2);
}

// Every page begins with its number.
static struct machine *machine_create(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->ram = aligned_alloc(PAGE, RAM_SIZE);
	m->small = aligned_alloc(PAGE, SMALL * PAGE);
	assert_non_null(m->ram);
	assert_non_null(m->small);
	memset(m->ram, 0, RAM_SIZE);
	memset(m->small, 0, SMALL * PAGE);
	memset(m->present, 0xff, sizeof(m->present));
	m->segments[0] = (struct gs_map_segment){ .phys = RAM_PHYS,
						  .end = RAM_PHYS + RAM_SIZE,
						  .base = (uint64_t)m->ram,
						  .present = (uint64_t)m->present };
	for (uint64_t page = 0; page < RAM_SIZE / PAGE; page++)
		*(uint64_t *)(m->ram + page * PAGE) = page;
	// Every other page: each a segment of its own.
	for (uint64_t i = 0; i < SMALL; i++) {
		m->segments[1 + i] = (struct gs_map_segment){
			.phys = SMALL_PHYS + i * 2 * PAGE,
			.end = SMALL_PHYS + i * 2 * PAGE + PAGE,
			.base = (uint64_t)m->small + i * PAGE,
		};
		*(uint64_t *)(m->small + i * PAGE) = 10000 + i;
	}
	m->map = (struct gs_map){
		.direct_base = DIRECT,
		.direct_size = UINT64_C(1) << 40,
		.image_base = IMAGE,
		.image_size = 3 * MIB,
		.image_phys = RAM_PHYS + 64 * PAGE,
		.root_phys = RAM_PHYS,
		.levels = 4,
		.segment_count = 1 + SMALL,
		.phys_mask = GS_PTE_ADDR,
		.segments = (uint64_t)m->segments,
	};
	m->ctx.map = (uint64_t)&m->map;
	m->ctx.block = (uint64_t)&m->block;
	m->ctx.threads = 1;
	m->ctx.blocks = 1;
	gs_rt_begin_run(&m->ctx);
	return m;
}

static void machine_destroy(struct machine *m)
{
	free(m->ram);
	free(m->small);
	free(m);
}

static uint64_t load(struct machine *m, uint64_t address)
{
	return gs_rt_load64(&m->ctx, address);
}

static unsigned int used(const struct gs_tlb_entry *entries, unsigned int count)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count; i++)
		n += entries[i].check != 0;
	return n;
}

static unsigned int stretches(const struct machine *m)
{
	return used(m->block.stretches, GS_TLB_STRETCHES);
}

static unsigned int pages(const struct machine *m)
{
	return used(m->block.pages, GS_TLB_PAGES);
}

static void one_entry_serves_a_stretch(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	for (uint64_t phys = 6 * MIB; phys < 12 * MIB; phys += PAGE)
		assert_int_equal(load(m, DIRECT + phys), (phys - RAM_PHYS) / PAGE);
	assert_int_equal(stretches(m), 3);
	assert_int_equal(pages(m), 0);
	// A load that leaves the stretch, and one that goes through to the next.
	assert_int_equal(gs_rt_load16(&m->ctx, DIRECT + 8 * MIB - 1),
			 ((8 * MIB - RAM_PHYS) / PAGE & 0xff) << 8);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

static void ends_of_memory_go_by_page(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	assert_int_equal(load(m, DIRECT + RAM_PHYS + PAGE), 1);
	assert_int_equal(load(m, DIRECT + RAM_PHYS + RAM_SIZE - PAGE), RAM_SIZE / PAGE - 1);
	assert_int_equal(stretches(m), 0);
	assert_int_equal(pages(m), 2);
	load(m, DIRECT + RAM_PHYS - 8);
	load(m, DIRECT + RAM_PHYS + RAM_SIZE);
	assert_int_equal(m->ctx.faults, 2);
	machine_destroy(m);
}

static void a_hole_breaks_a_stretch(void **state)
{
	struct machine *m = machine_create();
	uint64_t page = (8 * MIB - RAM_PHYS) / PAGE + 300;

	(void)state;
	m->present[page / 64] &= ~(UINT64_C(1) << page % 64);
	assert_int_equal(load(m, DIRECT + 8 * MIB), (8 * MIB - RAM_PHYS) / PAGE);
	assert_int_equal(load(m, DIRECT + 10 * MIB), (10 * MIB - RAM_PHYS) / PAGE);
	assert_int_equal(stretches(m), 1);
	assert_int_equal(load(m, DIRECT + RAM_PHYS + page * PAGE), 0);
	assert_int_equal(m->ctx.faults, 1);
	// It comes into being while the run goes on.
	m->present[page / 64] = UINT64_MAX;
	assert_int_equal(load(m, DIRECT + RAM_PHYS + page * PAGE), page);
	assert_int_equal(stretches(m), 2);
	// The next run looks once more.
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(stretches(m) + pages(m), 0);
	machine_destroy(m);
}

static void the_image_has_stretches_of_its_own(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	// 3 MiB from a multiple of 2 MiB on: one whole stretch, whose memory lies across two.
	for (uint64_t offset = 0; offset < 3 * MIB; offset += PAGE)
		assert_int_equal(load(m, IMAGE + offset), 64 + offset / PAGE);
	assert_int_equal(stretches(m), 1);
	assert_int_equal(m->ctx.faults, 0);
	load(m, IMAGE + 3 * MIB);
	assert_int_equal(m->ctx.faults, 1);

	// Where the bitmap's words do not fit the stretch, pages do.
	m->map.image_phys += PAGE;
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(load(m, IMAGE), 65);
	assert_int_equal(stretches(m), 0);
	// Without one there is nothing to fit.
	m->segments[0].present = 0;
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(load(m, IMAGE), 65);
	assert_int_equal(stretches(m), 1);
	machine_destroy(m);
}

static void large_leaves_are_stretches(void **state)
{
	struct machine *m = machine_create();
	uint64_t table = RAM_PHYS + PAGE;

	(void)state;
	memset(m->ram, 0, 3 * PAGE);
	at(m, RAM_PHYS)[VMALLOC >> 39 & 511] = table | GS_PTE_PRESENT;
	at(m, table)[VMALLOC >> 30 & 511] = (table + PAGE) | GS_PTE_PRESENT;
	at(m, table + PAGE)[VMALLOC >> 21 & 511] = 8 * MIB | GS_PTE_PRESENT | GS_PTE_PSE;
	for (uint64_t offset = 0; offset < 2 * MIB; offset += PAGE)
		assert_int_equal(load(m, VMALLOC + offset), (8 * MIB + offset - RAM_PHYS) / PAGE);
	assert_int_equal(m->ctx.walks, 1);
	load(m, VMALLOC + 2 * MIB);
	assert_int_equal(m->ctx.faults, 1);
	machine_destroy(m);
}

static void segments_beyond_the_copied_ones_are_found(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	for (uint64_t i = SMALL; i-- > 0;) {
		assert_int_equal(load(m, DIRECT + SMALL_PHYS + i * 2 * PAGE), 10000 + i);
		assert_int_equal(load(m, DIRECT + SMALL_PHYS + i * 2 * PAGE + PAGE), 0);
	}
	assert_int_equal(m->ctx.faults, SMALL);
	machine_destroy(m);
}

static void memory_is_counted_and_found_by_page(void **state)
{
	struct machine *m = machine_create();
	uint64_t count = RAM_SIZE / PAGE + SMALL;

	(void)state;
	assert_int_equal(gs_rt_ram_pages(&m->ctx), count);
	for (uint64_t i = 0; i < count; i++) {
		const void *page = gs_rt_ram_page(&m->ctx, i);

		assert_non_null(page);
		assert_int_equal(load(m, (uint64_t)page),
				 i < RAM_SIZE / PAGE ? i : 10000 + i - RAM_SIZE / PAGE);
	}
	assert_null(gs_rt_ram_page(&m->ctx, count));
	assert_null(gs_rt_ram_page(&m->ctx, UINT64_MAX));
	m->present[1] &= ~UINT64_C(1);
	gs_rt_begin_run(&m->ctx);
	assert_null(gs_rt_ram_page(&m->ctx, 64));
	assert_non_null(gs_rt_ram_page(&m->ctx, 65));
	assert_int_equal(m->ctx.faults, 0);
	// Behind the end of the direct map, and without one.
	m->map.direct_size = RAM_PHYS + 2 * PAGE;
	gs_rt_begin_run(&m->ctx);
	assert_non_null(gs_rt_ram_page(&m->ctx, 1));
	assert_null(gs_rt_ram_page(&m->ctx, 2));
	m->map.direct_size = 0;
	gs_rt_begin_run(&m->ctx);
	assert_null(gs_rt_ram_page(&m->ctx, 1));
	// Segments that are no more than part of a page, or nonsense.
	m->segments[0].end = m->segments[0].phys + PAGE - 1;
	m->segments[1].end = 0;
	gs_rt_begin_run(&m->ctx);
	assert_int_equal(gs_rt_ram_pages(&m->ctx), SMALL - 1);
	machine_destroy(m);
}

enum { READERS = 4, ROUNDS = 40000 };

struct reader {
	pthread_t thread;
	struct gs_ctx ctx;
	uint64_t wrong;
	unsigned int seed;
};

// All threads go for a few entries, each at pages that share them.
static void *read_much(void *arg)
{
	struct reader *reader = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t page = (uint64_t)rand_r(&reader->seed) % 7 * GS_TLB_PAGES + 3;

		reader->wrong +=
			gs_rt_load64(&reader->ctx, DIRECT + RAM_PHYS + page * PAGE) != page;
	}
	return NULL;
}

static void threads_share_the_tlb(void **state)
{
	struct machine *m = machine_create();
	struct reader readers[READERS];

	(void)state;
	// No stretch is whole.
	for (uint32_t i = 0; i < WORDS; i++)
		m->present[i] = UINT64_C(0x5555555555555558);
	gs_rt_begin_run(&m->ctx);
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .ctx = m->ctx, .seed = i };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_much, &readers[i]),
				 0);
	}
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].wrong, 0);
		assert_int_equal(readers[i].ctx.faults, 0);
	}
	assert_int_equal(pages(m), 1);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_entry_serves_a_stretch),
		cmocka_unit_test(ends_of_memory_go_by_page),
		cmocka_unit_test(a_hole_breaks_a_stretch),
		cmocka_unit_test(the_image_has_stretches_of_its_own),
		cmocka_unit_test(large_leaves_are_stretches),
		cmocka_unit_test(segments_beyond_the_copied_ones_are_found),
		cmocka_unit_test(memory_is_counted_and_found_by_page),
		cmocka_unit_test(threads_share_the_tlb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
