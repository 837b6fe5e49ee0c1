/* SPDX-License-Identifier: Apache-2.0 */
// The kernel's compressed symbol table (scripts/kallsyms.c, kernel/kallsyms.c).
//
// The tables are copied once; afterwards nothing here reads target memory.
#ifndef GS_KERNEL_KALLSYMS_H
#define GS_KERNEL_KALLSYMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

#include "memory.h"

enum kallsyms_encoding {
	// u64 addresses[].
	KALLSYMS_ABSOLUTE,
	// u32 offsets[] from relative_base.
	KALLSYMS_RELATIVE,
	// s32 offsets[]: not negative: the value itself (per-CPU symbols), negative: relative_base
	// - 1 - offset.
	KALLSYMS_ABSOLUTE_PERCPU,
	// s32 offsets[] from the address of the entry itself.
	KALLSYMS_PLACE_RELATIVE,
	KALLSYMS_ENCODINGS,
};

extern const char *const kallsyms_encoding_names[KALLSYMS_ENCODINGS];

// Where the tables lie; 0: not known or not there.
struct kallsyms_tables {
	uint64_t names, num_syms, token_table, token_index;
	// u64 entries, or 32-bit entries.
	uint64_t addresses, offsets;
	uint64_t relative_base;
};

// A symbol whose address is known from elsewhere (VMCOREINFO), up to KALLSYMS_MAX_ANCHORS of them.
// The first one is _stext and must agree.
struct kallsyms_anchor {
	const char *name;
	uint64_t address;
	// Found by kallsyms_find(); KALLSYMS_NONE if the table does not have it.
	uint32_t index;
};

#define KALLSYMS_NONE UINT32_MAX

enum {
	// Longest name kept, with the NUL. KSYM_NAME_LEN is 512 since Linux kernel commit
	// b8a94bfb3395
	// ("kallsyms: increase maximum kernel symbol length to 512") (in v6.1).
	KALLSYMS_NAME_LEN = 1024,
	KALLSYMS_TOKENS = 256,
	KALLSYMS_MAX_ANCHORS = 16,
	// Kernels have 100,000 to 200,000.
	KALLSYMS_MAX = 1 << 22,
};

struct kallsyms_token {
	const char *text;
	uint32_t len;
	// Of the text, and of the text without its first character (a symbol's type); see
	// kallsyms.c.
	uint64_t hash, power;
	uint64_t tail_hash, tail_power;
};

struct kallsyms {
	uint32_t count;
	// Compressed names: lengths in one or two bytes, then token numbers.
	uint8_t *names;
	size_t names_size;
	char *token_table;
	struct kallsyms_token tokens[KALLSYMS_TOKENS];
	// True if a symbol may begin with this token: its first character is a symbol type of
	// nm(1).
	bool starts[KALLSYMS_TOKENS];
	enum kallsyms_encoding encoding;
	// count entries of 8 (ABSOLUTE) or 4 bytes.
	void *entries;
	uint64_t entries_address;
	uint64_t relative_base;
};

// Read the tables and decide on the encoding: the one in which _stext and most other anchors come
// out right.
struct gs_error *kallsyms_load(const struct memory *memory, const struct kallsyms_tables *tables,
			       struct kallsyms_anchor *anchors, size_t anchor_count,
			       struct kallsyms *ret);
void kallsyms_deinit(struct kallsyms *kallsyms);

// Steps of kallsyms_load(), for the structural search and for tests. @table and @index are copies;
// @table is taken over, from malloc(), also on failure.
struct gs_error *kallsyms_set_tokens(struct kallsyms *kallsyms, char *table, size_t size,
				     const uint16_t index[KALLSYMS_TOKENS]);

// Bytes that @count compressed names in [names, names + size) take, or 0 if they are not valid: an
// empty name, a first character that is no symbol type, or the end of the buffer. @valid_ret: how
// many names are valid.
size_t kallsyms_names_size(const struct kallsyms *kallsyms, const uint8_t *names, size_t size,
			   uint32_t count, uint32_t *valid_ret);

// Find the symbols of @count names in one pass; the lowest index of each, or KALLSYMS_NONE.
void kallsyms_find(const struct kallsyms *kallsyms, const char *const *names, uint32_t *indexes,
		   size_t count);

// Decoded address. @absolute_ret (may be NULL): true if the table says that it is no address of the
// image.
uint64_t kallsyms_address(const struct kallsyms *kallsyms, uint32_t index, bool *absolute_ret);

// Decoded address of an entry under a given encoding, for those who are still deciding.
uint64_t kallsyms_decode(enum kallsyms_encoding encoding, const void *entry, uint64_t entry_address,
			 uint64_t relative_base);

// Expand the name at byte @offset of names; characters that are not printable become '?'. Returns
// the offset of the next one, 0 at the end.
size_t kallsyms_expand(const struct kallsyms *kallsyms, size_t offset, char *type_ret,
		       char name[KALLSYMS_NAME_LEN]);

#endif
