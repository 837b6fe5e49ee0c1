/* SPDX-License-Identifier: Apache-2.0 */
// A synthetic machine for tests of the device runtime: physical memory in segments, page tables, a
// context.
#ifndef TEST_DEVICE_MEMORY_H
#define TEST_DEVICE_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rt.h"

#define PAGE UINT64_C(4096)
#define PAGES 256
#define RAM_PHYS UINT64_C(0x100000)
// Behind a gap, so that a range of physical addresses exists that no segment has.
#define HIGH_PHYS UINT64_C(0x100000000)
#define HIGH_PAGES 16

// Where the tests map things. Direct map and kernel image as on x86-64, with the direct map moved
// by KASLR.
#define DIRECT UINT64_C(0xffff888000000000)
#define IMAGE UINT64_C(0xffffffff81000000)
#define VMALLOC UINT64_C(0xffffc90000000000)

#define PRESENT GS_PTE_PRESENT
#define LEAF GS_PTE_PSE

struct machine {
	struct gs_ctx ctx;
	struct gs_block block;
	struct gs_map map;
	struct gs_map_segment segments[2];
	uint64_t present[PAGES / 64];
	uint8_t *ram, *high;
	// Next unused page of ram, for page tables.
	uint64_t next;
	uint8_t out[1 << 18];
	unsigned int faults_asked;
	uint64_t fault_allows;
};

static inline uint8_t *machine_at(struct machine *m, uint64_t phys)
{
	if (phys >= HIGH_PHYS) {
		assert_true(phys - HIGH_PHYS < HIGH_PAGES * PAGE);
		return m->high + (phys - HIGH_PHYS);
	}
	assert_true(phys >= RAM_PHYS && phys - RAM_PHYS < PAGES * PAGE);
	return m->ram + (phys - RAM_PHYS);
}

static inline void machine_put64(struct machine *m, uint64_t phys, uint64_t value)
{
	memcpy(machine_at(m, phys), &value, sizeof(value));
}

static inline uint64_t machine_get64(struct machine *m, uint64_t phys)
{
	uint64_t value;

	memcpy(&value, machine_at(m, phys), sizeof(value));
	return value;
}

static inline uint64_t machine_new_page(struct machine *m)
{
	assert_true(m->next < PAGES);
	return RAM_PHYS + m->next++ * PAGE;
}

// Physical address of the entry of @address at @level (1: page table), tables made as needed.
static inline uint64_t machine_entry(struct machine *m, uint64_t address, unsigned int level)
{
	uint64_t table = m->map.root_phys;

	for (unsigned int l = m->map.levels;; l--) {
		uint64_t entry = table + 8 * ((address >> (12 + 9 * (l - 1))) & 511);

		if (l == level)
			return entry;
		if (!(machine_get64(m, entry) & PRESENT))
			machine_put64(m, entry, machine_new_page(m) | PRESENT);
		table = machine_get64(m, entry) & GS_PTE_ADDR;
	}
}

// Map the 4 KiB (level 1), 2 MiB (2) or 1 GiB (3) page of @address to @phys.
static inline void machine_map(struct machine *m, uint64_t address, uint64_t phys,
			       unsigned int level)
{
	machine_put64(m, machine_entry(m, address, level), phys | PRESENT | (level > 1 ? LEAF : 0));
}

static inline uint32_t machine_fault(uint64_t arg, uint64_t segment, uint64_t page)
{
	struct machine *m = (struct machine *)arg;

	m->faults_asked++;
	if (segment || page != m->fault_allows)
		return 0;
	m->present[page / 64] |= UINT64_C(1) << (page % 64);
	return 1;
}

static inline struct machine *machine_create(unsigned int levels)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	// Exact allocations, so that AddressSanitizer sees a read behind the end.
	m->ram = calloc(PAGES, PAGE);
	m->high = calloc(HIGH_PAGES, PAGE);
	assert_non_null(m->ram);
	assert_non_null(m->high);
	memset(m->present, 0xff, sizeof(m->present));
	m->segments[0] = (struct gs_map_segment){
		.phys = RAM_PHYS,
		.end = RAM_PHYS + PAGES * PAGE,
		.base = (uint64_t)m->ram,
		.present = (uint64_t)m->present,
	};
	m->segments[1] = (struct gs_map_segment){
		.phys = HIGH_PHYS,
		.end = HIGH_PHYS + HIGH_PAGES * PAGE,
		.base = (uint64_t)m->high,
	};
	m->map = (struct gs_map){
		.direct_base = DIRECT,
		.direct_size = UINT64_C(1) << 40,
		.image_base = IMAGE,
		.image_size = 64 * PAGE,
		.image_phys = RAM_PHYS + 64 * PAGE,
		.root_phys = RAM_PHYS,
		.levels = levels,
		.segment_count = 2,
		.phys_mask = GS_PTE_ADDR,
		.segments = (uint64_t)m->segments,
	};
	m->next = 1;
	m->ctx.map = (uint64_t)&m->map;
	m->ctx.block = (uint64_t)&m->block;
	m->ctx.threads = 1;
	m->ctx.blocks = 1;
	m->ctx.out = (uint64_t)m->out;
	m->ctx.out_size = sizeof(m->out);
	gs_rt_begin_run(&m->ctx);
	return m;
}

static inline void machine_destroy(struct machine *m)
{
	free(m->ram);
	free(m->high);
	free(m);
}

#endif
