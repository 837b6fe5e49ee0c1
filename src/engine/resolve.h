/* SPDX-License-Identifier: Apache-2.0 */
// Fills the slots of a fat detector from the types and symbols of the watched kernel.
//
// What a relocation means is libbpf's: src/relo_core.c, bpf_core_calc_field_relo() and its
// neighbours.
#ifndef GS_ENGINE_RESOLVE_H
#define GS_ENGINE_RESOLVE_H

#include <stdint.h>

#include "engine/fat.h"

struct types;

// Where slots get their values from.
struct resolve_source {
	// What the kernel is called in messages, "6.1.0-49-amd64".
	const char *release;
	// NULL: the kernel has no types; only asked for if a slot needs them.
	const struct types *types;
	// As gs_kernel_find_symbols(); NULL as types.
	struct gs_error *(*find_symbols)(void *arg, struct gs_symbol_query *queries, size_t count);
	void *arg;
	// Added to the offset of a per-CPU symbol: what the kernel adds __per_cpu_offset[cpu] to.
	uint64_t percpu_start;
};

bool resolve_needs_types(const struct gs_fat *fat);
bool resolve_needs_symbols(const struct gs_fat *fat);

// @slots has room for all of the fat detector. @name is the detector that messages name. Everything
// is looked up even if something is missing: GS_ERROR_DETECTOR names the first and counts the
// others.
struct gs_error *resolve_slots(const struct gs_fat *fat, const char *name,
			       const struct resolve_source *source, uint64_t *slots);

// The same from a kernel.
struct gs_error *resolve_from_kernel(const struct gs_fat *fat, const char *name,
				     struct gs_kernel *kernel, uint64_t *slots);

#endif
