/* SPDX-License-Identifier: Apache-2.0 */
// Kernel virtual memory: translation in the order of <gpusentinel/map.h>, and copies.
#ifndef GS_KERNEL_MEMORY_H
#define GS_KERNEL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/map.h>
#include <gpusentinel/target.h>

struct memory {
	struct gs_target *target;
	struct gs_map map;
};

// Where the kernel image is linked (__START_KERNEL_map, Documentation/arch/x86/x86_64/mm.rst).
#define KERNEL_MAP_START UINT64_C(0xffffffff80000000)
// KERNEL_IMAGE_SIZE with KASLR.
#define KERNEL_IMAGE_MAX (UINT64_C(1) << 30)

struct pgtable;
struct pgtable memory_pgtable(const struct memory *memory);

// @left_ret (may be NULL): bytes from there on that are physically consecutive, at least 1.
struct gs_error *memory_translate(const struct memory *memory, uint64_t address, uint64_t *phys_ret,
				  uint64_t *left_ret);

struct gs_error *memory_read(const struct memory *memory, uint64_t address, void *buf,
			     uint64_t size);

// Copy up to the first byte that cannot be read; returns how many bytes.
size_t memory_read_some(const struct memory *memory, uint64_t address, void *buf, size_t size);

struct gs_error *memory_read_u32(const struct memory *memory, uint64_t address, uint32_t *ret);
struct gs_error *memory_read_u64(const struct memory *memory, uint64_t address, uint64_t *ret);

// Clamped to @len bytes with the NUL; an unreadable byte before the NUL is an error.
struct gs_error *memory_read_string(const struct memory *memory, uint64_t address, char *buf,
				    size_t len);

#endif
