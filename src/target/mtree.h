/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * QEMU's answer to `info mtree -f`: where a guest's RAM lies in its physical address space.
 */
#ifndef GS_TARGET_MTREE_H
#define GS_TARGET_MTREE_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** One range of RAM in the flat view. */
struct gs_mtree_range {
	/** Physical address and length in bytes. */
	uint64_t phys, size;
	/** Offset in the memory region. */
	uint64_t offset;
	/** Name of the memory region, which is the backend's id; points into the text. Not NUL-terminated. */
	const char *region;
	size_t region_len;
};

/**
 * Read the flat view of the address space "memory": its lines of type ram and nv-ram, in order.
 * rom, romd, ramd (device memory) and i/o are left out.
 *
 * Format: QEMU's softmmu/memory.c (system/memory.c since 9.0), mtree_print_flatview().
 *
 * @param ret The caller ends it with free(); it points into @p text.
 * @return GS_ERROR_TARGET if there is no such view or a line of it makes no sense.
 */
struct gs_error *gs_mtree_parse(const char *text, struct gs_mtree_range **ret, size_t *count_ret);

#endif
