/* SPDX-License-Identifier: Apache-2.0 */
// What a mailbox says of the target's memory.
#ifndef GS_ENGINE_MEMORY_AREA_H
#define GS_ENGINE_MEMORY_AREA_H

#include <gpusentinel/kernel_info.h>
#include <gpusentinel/mailbox.h>

// Make the contents of the area, @size_ret bytes; the caller ends it with free(). NULL: no memory.
struct gs_mailbox_memory *memory_area_make(struct gs_kernel *kernel, size_t *size_ret);

#endif
