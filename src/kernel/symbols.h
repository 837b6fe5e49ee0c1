/* SPDX-License-Identifier: Apache-2.0 */
// The symbols of the kernel image, from kallsyms or from a System.map.
#ifndef GS_KERNEL_SYMBOLS_H
#define GS_KERNEL_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/kernel_info.h>

#include "kallsyms.h"
#include "memory.h"
#include "vmcoreinfo.h"

struct system_map_entry {
	uint64_t address;
	// Offset of the name in text.
	uint32_t name;
	char type;
};

struct symbols {
	struct kallsyms kallsyms;
	// Where the tables were named or found.
	bool named;
	// A System.map in place of kallsyms; NULL: none. In the order of the file.
	char *text;
	struct system_map_entry *entries;
	uint32_t count;
	// Per-CPU variables are [percpu_start, percpu_end); image symbols [image_start, image_end).
	uint64_t percpu_start, percpu_end;
	uint64_t image_start, image_end;
	// For symbols_at(): sorted by address, built on the first call.
	struct symbol_place *places;
	size_t place_count;
};

struct symbol_place {
	uint64_t address;
	// Offset of the compressed name, or index of the System.map entry.
	uint32_t name;
	// Order in the table: of symbols that share an address the kernel prints the first.
	uint32_t order;
};

// Find and load the kernel's tables. @structural: do not believe VMCOREINFO's names of them.
struct gs_error *symbols_init_kallsyms(struct symbols *symbols, const struct memory *memory,
				       const struct vmcoreinfo *info, bool structural);

// Load a System.map; @stext: where the kernel has _stext, which gives the KASLR offset.
struct gs_error *symbols_init_system_map(struct symbols *symbols, const char *path, uint64_t stext);

void symbols_deinit(struct symbols *symbols);

// Look up many names in one pass; names that are not there get found = false.
struct gs_error *symbols_find(const struct symbols *symbols, struct gs_symbol_query *queries,
			      size_t count);

uint32_t symbols_count(const struct symbols *symbols);

void symbols_for_each(const struct symbols *symbols,
		      bool (*fn)(void *arg, const char *name, char type, uint64_t address),
		      void *arg);

// The symbol that contains @address: its name, beginning and size. False if @address is not in the
// image.
bool symbols_at(struct symbols *symbols, uint64_t address, char name[KALLSYMS_NAME_LEN],
		uint64_t *start_ret, uint64_t *size_ret);

#endif
