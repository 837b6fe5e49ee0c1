/* SPDX-License-Identifier: Apache-2.0 */
// The kernel's virtual memory layout, out of its own variables: image, direct map, vmalloc,
// vmemmap, per-CPU areas.
#ifndef GS_KERNEL_LAYOUT_H
#define GS_KERNEL_LAYOUT_H

#include <gpusentinel/kernel_info.h>

struct gs_kernel;

// Fill kernel->memory.map, kernel->facts and the symbols' bounds from the symbols, all looked up in
// one pass.
struct gs_error *layout_init(struct gs_kernel *kernel);

// Address of the per-CPU variable at @offset (as gs_symbol_query has it) in the area of @cpu.
struct gs_error *layout_percpu(const struct gs_kernel *kernel, uint32_t cpu, uint64_t offset,
			       uint64_t *ret);

#endif
