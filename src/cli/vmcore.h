/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Writes a target's memory into an ELF vmcore, as kdump's /proc/vmcore looks (Linux fs/proc/vmcore.c).
 *
 * ELFCLASS64, ET_CORE, EM_X86_64. One PT_NOTE with the kernel's own VMCOREINFO; one PT_LOAD for each segment,
 * whose virtual address is the one of the direct map; one PT_LOAD for the kernel image, which points at the
 * same bytes. There are no NT_PRSTATUS notes: the registers are not in memory, and readers take
 * invented ones at their word. Pages that the target never had are holes of the file.
 */
#ifndef GS_CLI_VMCORE_H
#define GS_CLI_VMCORE_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/kernel_info.h>

struct vmcore_result {
	/** Length of the file, and what of it was written rather than left as a hole. */
	uint64_t size, written;
	uint64_t pages;
	uint32_t segments;
};

/**
 * Write @p path: first under a temporary name beside it, which is renamed when all is on disk and removed when
 * anything fails.
 *
 * @param force Replace @p path if it exists.
 * @param stop Becomes true when the user has had enough; may change at any time.
 * @return GS_ERROR_OTHER with what failed: it exists, no space, interrupted.
 */
struct gs_error *vmcore_write(struct gs_kernel *kernel, const char *path, bool force,
			      const volatile bool *stop, struct vmcore_result *ret);

#endif
