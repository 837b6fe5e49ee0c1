/* SPDX-License-Identifier: Apache-2.0 */
// In place of src/kernel, and of what src/target says of itself, for tests of the engines. Include it once, behind
// the test's own `segment` and `map`.
#ifndef TESTS_UNIT_ENGINE_KERNEL_H
#define TESTS_UNIT_ENGINE_KERNEL_H

#include <stdio.h>

#include <gpusentinel/engine.h>

#include "kernel/btf.h"

// Whether the kernel has the symbols that it is asked for.
static bool has_symbols = true;

struct gs_target *gs_kernel_target(struct gs_kernel *kernel)
{
	return (struct gs_target *)kernel;
}

const struct gs_map *gs_kernel_map(const struct gs_kernel *kernel)
{
	(void)kernel;
	return &map;
}

void gs_kernel_facts(const struct gs_kernel *kernel, struct gs_kernel_facts *ret)
{
	(void)kernel;
	*ret = (struct gs_kernel_facts){ .note_phys = 0x3000, .note_size = 100 };
}

const char *gs_kernel_release(const struct gs_kernel *kernel)
{
	(void)kernel;
	return "6.1";
}

struct gs_error *gs_kernel_types(struct gs_kernel *kernel, struct types **ret)
{
	(void)kernel;
	*ret = NULL;
	return NULL;
}

struct gs_error *gs_kernel_find_symbols(struct gs_kernel *kernel, struct gs_symbol_query *queries,
					size_t count)
{
	(void)kernel;
	for (size_t i = 0; i < count; i++) {
		queries[i].found = has_symbols;
		queries[i].address = 0x1234;
	}
	return NULL;
}

void gs_kernel_symbolize(struct gs_kernel *kernel, uint64_t address, char *buf, size_t len)
{
	(void)kernel;
	snprintf(buf, len, "init_task+0x%llx", (unsigned long long)address);
}

const struct gs_segment *gs_target_segments(const struct gs_target *target, size_t *count_ret)
{
	(void)target;
	*count_ret = 1;
	return &segment;
}

const char *gs_target_spec(const struct gs_target *target)
{
	(void)target;
	return "test";
}

#endif
