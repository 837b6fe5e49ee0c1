/* SPDX-License-Identifier: Apache-2.0 */
// x86-64 page tables of the target (Intel SDM volume 3, 4.5): 4 and 5 levels; 4K, 2M and 1G leaves.
#ifndef GS_KERNEL_PGTABLE_H
#define GS_KERNEL_PGTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/target.h>

struct pgtable {
	struct gs_target *target;
	// Physical address of the top-level table.
	uint64_t root;
	// 4 or 5.
	unsigned int levels;
	// Physical address bits of an entry, encryption bits left out.
	uint64_t phys_mask;
};

#define PTE_RW (UINT64_C(1) << 1)
#define PTE_USER (UINT64_C(1) << 2)
#define PTE_NX (UINT64_C(1) << 63)

struct pgtable_leaf {
	// Physical address of the byte that was asked for.
	uint64_t phys;
	// Bytes that the leaf maps: 4K, 2M or 1G.
	uint64_t size;
	// What all levels allow together: PTE_RW and PTE_USER if every level has them, PTE_NX if
	// any has.
	uint64_t flags;
};

// A failed read of target memory, seen from the kernel's side: what is wrong are its tables or
// pointers, not the target. Takes @err, gives GS_ERROR_KERNEL at the virtual @address.
struct gs_error *pgtable_fault(struct gs_error *err, uint64_t address);

// GS_ERROR_KERNEL with the virtual address and the level that failed: not canonical, not present, a
// table outside memory, a table that is its own parent, a reserved PS bit.
struct gs_error *pgtable_walk(const struct pgtable *pgtable, uint64_t address,
			      struct pgtable_leaf *ret);

// A run of virtual addresses mapped to consecutive physical ones with equal flags.
struct pgtable_range {
	uint64_t start, size, phys, flags;
};

// Call @fn for every mapped run in [start, last], merged as far as possible, until it returns
// false.
// @last is inclusive, so that the whole address space can be asked for. Damaged tables are errors
// at once; GS_ERROR_INCOMPLETE after an absurd number of tables (shared tables can stand for 2^57
// bytes).
struct gs_error *pgtable_for_each(const struct pgtable *pgtable, uint64_t start, uint64_t last,
				  bool (*fn)(void *arg, const struct pgtable_range *range),
				  void *arg);

#endif
