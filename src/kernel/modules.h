/* SPDX-License-Identifier: Apache-2.0 */
// Loaded modules and their symbols, which the kallsyms tables do not have.
#ifndef GS_KERNEL_MODULES_H
#define GS_KERNEL_MODULES_H

#include <gpusentinel/kernel_info.h>

#include "kallsyms.h"

struct gs_kernel;

// Modules as they were when their symbols were first asked for.
struct module_cache {
	struct module_info *modules;
	size_t count;
	// Memory that their symbols take: bounded, as their sizes are the target's word.
	size_t symbol_bytes;
};

void module_cache_deinit(struct module_cache *cache);

// Look up those of @queries that are not found yet in the symbols of all modules. A kernel without
// modules or types is no error: nothing is found.
struct gs_error *modules_find_symbols(struct gs_kernel *kernel, struct gs_symbol_query *queries,
				      size_t count);

// The module symbol that contains @address. @module_ret lives until the next call.
bool modules_symbol_at(struct gs_kernel *kernel, uint64_t address, char name[KALLSYMS_NAME_LEN],
		       uint64_t *start_ret, uint64_t *size_ret, const char **module_ret);

// Call @fn for each symbol that a module defines, until it returns false.
struct gs_error *modules_for_each_symbol(struct gs_kernel *kernel,
					 bool (*fn)(void *arg, const char *module, const char *name,
						    uint64_t address),
					 void *arg);

#endif
