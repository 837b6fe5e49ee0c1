/* SPDX-License-Identifier: Apache-2.0 */
// The kernel's types (BTF), read from hostile memory.
//
// libbpf reads them, after every record has been checked (btf_blob.h), so that every id and every name handed
// out here may be used without another check; what is here is what libbpf has not: an index of names, and lookups
// that hold against types that refer to themselves. Ids run from 1 to types_count() - 1; 0 is void. A
// function given an id outside that range, or a type that refers to itself, answers "no" and never
// loops.
//
// Format: Linux Documentation/bpf/btf.rst.
#ifndef GS_KERNEL_BTF_H
#define GS_KERNEL_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

struct btf;
struct gs_kernel;
struct types;

// Bit for types_find(): BTF_KIND_MASK(BTF_KIND_STRUCT) | BTF_KIND_MASK(BTF_KIND_UNION).
#define BTF_KIND_MASK(kind) (UINT32_C(1) << (kind))

// Takes a private copy of the blob. GS_ERROR_KERNEL says which record is damaged.
struct gs_error *types_create(const void *blob, size_t size, struct types **ret);
void types_destroy(struct types *types);

// The types of the kernel, read on the first call; owned by @kernel.
struct gs_error *gs_kernel_types(struct gs_kernel *kernel, struct types **ret);

// libbpf's own object; owned by @types.
struct btf *types_btf(const struct types *types);

// One more than the highest id.
uint32_t types_count(const struct types *types);

// BTF_KIND_* of <linux/btf.h>; 0 for void and for bad ids.
unsigned int types_kind(const struct types *types, uint32_t id);

// "" for void, anonymous types and bad ids.
const char *types_name(const struct types *types, uint32_t id);

// Find types by name, in the order of their ids. BTF may hold several of one name (a driver's own
// struct of the same name). @kinds is a mask of BTF_KIND_MASK(); 0 means every kind that the index
// has: INT, STRUCT, UNION, ENUM, ENUM64, FWD, TYPEDEF, FLOAT. Writes at most @max ids; returns how
// many exist.
size_t types_find(const struct types *types, const char *name, uint32_t kinds, uint32_t *ids,
		  size_t max);

// The first of types_find(), or 0.
uint32_t types_find_one(const struct types *types, const char *name, uint32_t kinds);

// Skip typedef, const, volatile, restrict and type tags. Returns 0 for void, bad ids and cycles.
uint32_t types_resolve(const struct types *types, uint32_t id);

// Skip all but typedef, for callers who compare type names.
uint32_t types_skip_modifiers(const struct types *types, uint32_t id);

// The type a pointer points to (0: void), the element type of an array. False if it is neither.
bool types_pointee(const struct types *types, uint32_t id, uint32_t *ret);
bool types_array(const struct types *types, uint32_t id, uint32_t *element_ret,
		 uint32_t *count_ret);

// sizeof() in bytes; false for void, functions, forward declarations, cycles and overflow. The size
// of a flexible array is 0.
bool types_sizeof(const struct types *types, uint32_t id, uint64_t *ret);

// A member of a struct or union; members of anonymous structs and unions inside count as its own.
struct type_member {
	// Type of the member as declared, typedefs and modifiers not skipped.
	uint32_t type_id;
	// True if declared with ": N".
	bool bitfield;
	// From the start of the outer struct.
	uint64_t bit_offset;
	// Bits; for members that are not bit fields 8 * sizeof; 0 for flexible arrays.
	uint64_t bit_size;
};

// @id may be a typedef of a struct. False if there is no such member.
bool types_find_member(const struct types *types, uint32_t id, const char *name,
		       struct type_member *ret);

// Member number @index of the record itself (no descent): what CO-RE access strings count.
// @name_ret may be NULL; "" for anonymous members.
bool types_member_at(const struct types *types, uint32_t id, uint32_t index,
		     struct type_member *ret, const char **name_ret);

// Number of members (struct, union), enumerators or parameters.
uint32_t types_vlen(const struct types *types, uint32_t id);

// Value of an enumerator in enum @id (ENUM and ENUM64); @is_signed_ret may be NULL.
bool types_find_enumerator(const struct types *types, uint32_t id, const char *name,
			   int64_t *value_ret, bool *is_signed_ret);

// Enumerator number @index of enum @id.
bool types_enumerator_at(const struct types *types, uint32_t id, uint32_t index,
			 const char **name_ret, int64_t *value_ret);

// Value of an enumerator in whichever enum has it, anonymous ones included (one pass over all
// types).
bool types_find_any_enumerator(const struct types *types, const char *name, int64_t *value_ret);

// Integer encoding of INT, BOOL-like, ENUM types. False if @id resolves to none of them.
bool types_is_signed(const struct types *types, uint32_t id, bool *ret);

// Where an access path leads.
struct type_location {
	// From the start of the root object, or of the last object reached through "->".
	uint64_t bit_offset;
	// Bits; 8 * byte_size unless it is a bit field.
	uint64_t bit_size;
	// sizeof() the final type: for bit fields of the declared type. 0 for flexible arrays.
	uint64_t byte_size;
	// Final type as declared, and the same without typedefs and modifiers.
	uint32_t type_id, resolved_id;
	// BTF_KIND_* of resolved_id.
	unsigned int kind;
	bool bitfield;
	// For integers and enums.
	bool is_signed;
	// Number of "->" passed.
	unsigned int derefs;
};

// Resolve an access path such as "se.sum_exec_runtime", "comm[3]", "[2].pid", "mm->pgd" or "" (the
// root itself). A leading "[N]" counts whole root objects, as pointer arithmetic does. An index
// behind the end of an array is an error, except for flexible arrays. Errors: GS_ERROR_DETECTOR,
// with the part of the path that does not exist.
struct gs_error *types_resolve_path(const struct types *types, uint32_t root, const char *path,
				    struct type_location *ret);

#endif
