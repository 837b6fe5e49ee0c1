/* SPDX-License-Identifier: Apache-2.0 */
// struct gs_kernel, for the files of this directory and for tests.
#ifndef GS_KERNEL_KERNEL_H
#define GS_KERNEL_KERNEL_H

#include <gpusentinel/kernel_info.h>

#include "btf.h"
#include "memory.h"
#include "modules.h"
#include "symbols.h"
#include "vmcoreinfo.h"

struct gs_kernel {
	struct gs_target *target;
	struct vmcoreinfo info;
	struct memory memory;
	// The target's segments as gs_map has them.
	struct gs_map_segment *segments;
	struct symbols symbols;
	struct gs_kernel_facts facts;
	// [btf_start, btf_start + facts.btf_size); 0: none.
	uint64_t btf_start;
	struct types *types;
	// Address of the list head `modules`; 0: none.
	uint64_t modules_head;
	struct module_cache modules;
};

#endif
