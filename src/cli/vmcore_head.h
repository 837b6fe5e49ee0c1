/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What an ELF vmcore begins with (vmcore.h tells how that looks): the memory of all segments, one behind the other,
 * follows.
 */
#ifndef GS_CLI_VMCORE_HEAD_H
#define GS_CLI_VMCORE_HEAD_H

#include <gpusentinel/error.h>
#include <gpusentinel/mailbox.h>

/** Bytes from the start of the kernel's VMCOREINFO note to its text, which is 2 to 4 KiB and no longer than this. */
#define VMCORE_NOTE_HEAD 24
#define VMCORE_NOTE_MAX (64u << 10)

struct vmcore_head {
	uint8_t *bytes;
	/** Whole pages; and the length of the file that they describe. */
	uint64_t size, file_size;
};

/** A GS_ERROR_KERNEL if VMCOREINFO is longer than any kernel's. */
struct gs_error *vmcore_check_note(const struct gs_mailbox_memory *memory);

/**
 * Make the head for this memory.
 * @param text note_size bytes of VMCOREINFO. @param ret Its bytes end with free().
 */
struct gs_error *vmcore_head_make(const struct gs_mailbox_memory *memory, const void *text,
				  struct vmcore_head *ret);

#endif
