/* SPDX-License-Identifier: Apache-2.0 */
// Find the kallsyms tables of a kernel whose VMCOREINFO does not name them: those before Linux
// kernel commit 5fd8fea935a1 ("vmcoreinfo: include kallsyms symbols") (in v6.0).
#ifndef GS_KERNEL_KALLSYMS_FIND_H
#define GS_KERNEL_KALLSYMS_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

#include "kallsyms.h"
#include "memory.h"

// Search the mapped kernel image from @stext on by the structure of the tables, in whatever order
// they were linked.
// @anchors: as in kallsyms_load(). Bounded: seconds at worst.
struct gs_error *kallsyms_search(const struct memory *memory, uint64_t stext,
				 struct kallsyms_anchor *anchors, size_t anchor_count,
				 struct kallsyms_tables *ret);

// The same in a copy of [address, address + size); false if the tables are not in there.
bool kallsyms_search_buffer(const uint8_t *buf, size_t size, uint64_t address,
			    struct kallsyms_anchor *anchors, size_t anchor_count,
			    struct kallsyms_tables *ret);

#endif
