// SPDX-License-Identifier: Apache-2.0
#include "btf.h"

#include <bpf/btf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "btf_blob.h"
#include "util/cleanup.h"

enum {
	// Longest chain of typedefs and modifiers, deepest nest of arrays or anonymous members:
	// real kernels stay below 10.
	MAX_CHAIN = 256,
	MAX_DEPTH = 32,
	// Members and types looked at in one query: an anonymous union in an anonymous struct in
	// ... can stand for 65535^32 members.
	MAX_STEPS = 1 << 20,
};

struct types {
	struct btf *btf;
	uint32_t count;
	// Chains of ids, lowest first, whose names have the same hash.
	uint32_t *heads;
	uint32_t *next;
	uint32_t mask;
};

#define INDEXED_KINDS                                                   \
	(BTF_KIND_MASK(BTF_KIND_INT) | BTF_KIND_MASK(BTF_KIND_STRUCT) | \
	 BTF_KIND_MASK(BTF_KIND_UNION) | BTF_KIND_MASK(BTF_KIND_ENUM) | \
	 BTF_KIND_MASK(BTF_KIND_ENUM64) | BTF_KIND_MASK(BTF_KIND_FWD) | \
	 BTF_KIND_MASK(BTF_KIND_TYPEDEF) | BTF_KIND_MASK(BTF_KIND_FLOAT))

// NULL for void and for ids out of range.
static const struct btf_type *type_at(const struct types *types, uint32_t id)
{
	return id && id < types->count ? btf__type_by_id(types->btf, id) : NULL;
}

static const char *string_at(const struct types *types, uint32_t offset)
{
	const char *string = btf__str_by_offset(types->btf, offset);

	return string ? string : "";
}

static unsigned int kind_of(const struct btf_type *type)
{
	return BTF_INFO_KIND(type->info);
}

static bool is_record(const struct btf_type *type)
{
	return type && (kind_of(type) == BTF_KIND_STRUCT || kind_of(type) == BTF_KIND_UNION);
}

static bool is_enum(const struct btf_type *type)
{
	return type && (kind_of(type) == BTF_KIND_ENUM || kind_of(type) == BTF_KIND_ENUM64);
}

// FNV-1a.
static uint32_t hash_name(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}

static struct gs_error *build_index(struct types *types)
{
	uint32_t count = types->count;
	uint32_t buckets = 16;

	while (buckets < count && buckets < (1u << 20))
		buckets *= 2;
	types->mask = buckets - 1;
	types->heads = calloc(buckets, sizeof(*types->heads));
	types->next = calloc(count, sizeof(*types->next));
	if (!types->heads || !types->next)
		return &gs_enomem;

	for (uint32_t id = count - 1; id > 0; id--) {
		const struct btf_type *type = type_at(types, id);

		if (!(BTF_KIND_MASK(kind_of(type)) & INDEXED_KINDS) || !type->name_off)
			continue;

		uint32_t *head =
			&types->heads[hash_name(string_at(types, type->name_off)) & types->mask];

		types->next[id] = *head;
		*head = id;
	}
	return NULL;
}

struct gs_error *types_create(const void *blob, size_t size, struct types **ret)
{
	struct types *types = calloc(1, sizeof(*types));

	if (!types)
		return &gs_enomem;

	struct gs_error *err = btf_blob_parse(blob, size, &types->btf);

	if (!err) {
		types->count = btf__type_cnt(types->btf);
		err = build_index(types);
	}
	if (err) {
		types_destroy(types);
		return err;
	}
	*ret = types;
	return NULL;
}

void types_destroy(struct types *types)
{
	if (!types)
		return;
	btf__free(types->btf);
	free(types->heads);
	free(types->next);
	free(types);
}

struct btf *types_btf(const struct types *types)
{
	return types->btf;
}

uint32_t types_count(const struct types *types)
{
	return types->count;
}

unsigned int types_kind(const struct types *types, uint32_t id)
{
	const struct btf_type *type = type_at(types, id);

	return type ? kind_of(type) : BTF_KIND_UNKN;
}

const char *types_name(const struct types *types, uint32_t id)
{
	const struct btf_type *type = type_at(types, id);

	return type ? string_at(types, type->name_off) : "";
}

size_t types_find(const struct types *types, const char *name, uint32_t kinds, uint32_t *ids,
		  size_t max)
{
	size_t found = 0;

	if (!kinds)
		kinds = INDEXED_KINDS;
	for (uint32_t id = types->heads[hash_name(name) & types->mask]; id; id = types->next[id]) {
		const struct btf_type *type = type_at(types, id);

		if (!(BTF_KIND_MASK(kind_of(type)) & kinds) ||
		    strcmp(string_at(types, type->name_off), name))
			continue;
		if (found < max)
			ids[found] = id;
		found++;
	}
	return found;
}

uint32_t types_find_one(const struct types *types, const char *name, uint32_t kinds)
{
	uint32_t id = 0;

	return types_find(types, name, kinds, &id, 1) ? id : 0;
}

static uint32_t skip_kinds(const struct types *types, uint32_t id, uint32_t kinds)
{
	for (int i = 0; i < MAX_CHAIN; i++) {
		const struct btf_type *type = type_at(types, id);

		if (!type)
			return 0;
		if (!(BTF_KIND_MASK(kind_of(type)) & kinds))
			return id;
		id = type->type;
	}
	return 0;
}

#define MODIFIER_KINDS                                                      \
	(BTF_KIND_MASK(BTF_KIND_CONST) | BTF_KIND_MASK(BTF_KIND_VOLATILE) | \
	 BTF_KIND_MASK(BTF_KIND_RESTRICT) | BTF_KIND_MASK(BTF_KIND_TYPE_TAG))

uint32_t types_resolve(const struct types *types, uint32_t id)
{
	return skip_kinds(types, id, MODIFIER_KINDS | BTF_KIND_MASK(BTF_KIND_TYPEDEF));
}

uint32_t types_skip_modifiers(const struct types *types, uint32_t id)
{
	return skip_kinds(types, id, MODIFIER_KINDS);
}

bool types_pointee(const struct types *types, uint32_t id, uint32_t *ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!type || kind_of(type) != BTF_KIND_PTR)
		return false;
	*ret = type->type;
	return true;
}

bool types_array(const struct types *types, uint32_t id, uint32_t *element_ret, uint32_t *count_ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!type || kind_of(type) != BTF_KIND_ARRAY)
		return false;

	const struct btf_array *array = (const struct btf_array *)(type + 1);

	*element_ret = array->type;
	*count_ret = array->nelems;
	return true;
}

bool types_sizeof(const struct types *types, uint32_t id, uint64_t *ret)
{
	uint64_t count = 1;

	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		id = types_resolve(types, id);

		const struct btf_type *type = type_at(types, id);
		const struct btf_array *array;

		if (!type)
			return false;
		switch (kind_of(type)) {
		case BTF_KIND_INT:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_ENUM:
		case BTF_KIND_ENUM64:
		case BTF_KIND_FLOAT:
		case BTF_KIND_DATASEC:
			return !__builtin_mul_overflow(count, (uint64_t)type->size, ret);
		case BTF_KIND_PTR:
			return !__builtin_mul_overflow(count, UINT64_C(8), ret);
		case BTF_KIND_VAR:
			id = type->type;
			break;
		case BTF_KIND_ARRAY:
			array = (const struct btf_array *)(type + 1);
			if (__builtin_mul_overflow(count, (uint64_t)array->nelems, &count))
				return false;
			id = array->type;
			break;
		default:
			return false;
		}
	}
	return false;
}

uint32_t types_vlen(const struct types *types, uint32_t id)
{
	const struct btf_type *type = type_at(types, id);

	return type ? BTF_INFO_VLEN(type->info) : 0;
}

static uint64_t member_offset(const struct btf_type *record, const struct btf_member *member)
{
	return BTF_INFO_KFLAG(record->info) ? BTF_MEMBER_BIT_OFFSET(member->offset)
					    : member->offset;
}

static void decode_member(const struct types *types, const struct btf_type *record, uint32_t index,
			  struct type_member *ret, const char **name_ret)
{
	const struct btf_member *member = (const struct btf_member *)(record + 1) + index;
	uint64_t bytes;

	*ret = (struct type_member){ .type_id = member->type,
				     .bit_offset = member_offset(record, member) };
	if (BTF_INFO_KFLAG(record->info)) {
		ret->bit_size = BTF_MEMBER_BITFIELD_SIZE(member->offset);
		ret->bitfield = ret->bit_size != 0;
	}
	if (!ret->bitfield && types_sizeof(types, member->type, &bytes) && bytes <= UINT64_MAX / 8)
		ret->bit_size = bytes * 8;
	*name_ret = string_at(types, member->name_off);
}

bool types_member_at(const struct types *types, uint32_t id, uint32_t index,
		     struct type_member *ret, const char **name_ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));
	const char *name;

	if (!is_record(type) || index >= BTF_INFO_VLEN(type->info))
		return false;
	decode_member(types, type, index, ret, &name);
	if (name_ret)
		*name_ret = name;
	return true;
}

static bool find_member(const struct types *types, uint32_t id, const char *name, int depth,
			int *steps, struct type_member *ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!is_record(type) || depth == MAX_DEPTH)
		return false;

	uint32_t vlen = BTF_INFO_VLEN(type->info);
	const struct btf_member *members = (const struct btf_member *)(type + 1);

	for (uint32_t i = 0; i < vlen; i++) {
		if (--*steps <= 0)
			return false;

		const char *member_name = string_at(types, members[i].name_off);

		if (*member_name && strcmp(member_name, name))
			continue;

		if (*member_name) {
			decode_member(types, type, i, ret, &member_name);
			return true;
		}
		if (find_member(types, members[i].type, name, depth + 1, steps, ret)) {
			ret->bit_offset += member_offset(type, &members[i]);
			return true;
		}
	}
	return false;
}

bool types_find_member(const struct types *types, uint32_t id, const char *name,
		       struct type_member *ret)
{
	int steps = MAX_STEPS;

	return *name && find_member(types, id, name, 0, &steps, ret);
}

bool types_enumerator_at(const struct types *types, uint32_t id, uint32_t index,
			 const char **name_ret, int64_t *value_ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!is_enum(type) || index >= BTF_INFO_VLEN(type->info))
		return false;
	if (kind_of(type) == BTF_KIND_ENUM) {
		const struct btf_enum *value = (const struct btf_enum *)(type + 1) + index;

		*name_ret = string_at(types, value->name_off);
		// Since Linux kernel commit 6089fb325cf7 ("bpf: Add btf enum64 support") (in v6.0),
		// kind_flag tells signed enums. Before that the flag is 0 and all are taken as
		// signed, which gives the same 32 bits.
		*value_ret = BTF_INFO_KFLAG(type->info) || value->val < 0
				     ? value->val
				     : (int64_t)(uint32_t)value->val;
		return true;
	}

	const struct btf_enum64 *value = (const struct btf_enum64 *)(type + 1) + index;

	*name_ret = string_at(types, value->name_off);
	*value_ret = (int64_t)((uint64_t)value->val_hi32 << 32 | value->val_lo32);
	return true;
}

bool types_find_enumerator(const struct types *types, uint32_t id, const char *name,
			   int64_t *value_ret, bool *is_signed_ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!is_enum(type))
		return false;
	if (is_signed_ret)
		*is_signed_ret = BTF_INFO_KFLAG(type->info);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		const char *enumerator;

		if (types_enumerator_at(types, id, i, &enumerator, value_ret) &&
		    !strcmp(enumerator, name))
			return true;
	}
	return false;
}

bool types_find_any_enumerator(const struct types *types, const char *name, int64_t *value_ret)
{
	for (uint32_t id = 1; id < types->count; id++)
		if (is_enum(type_at(types, id)) &&
		    types_find_enumerator(types, id, name, value_ret, NULL))
			return true;
	return false;
}

bool types_is_signed(const struct types *types, uint32_t id, bool *ret)
{
	const struct btf_type *type = type_at(types, types_resolve(types, id));

	if (!type)
		return false;
	if (is_enum(type)) {
		*ret = BTF_INFO_KFLAG(type->info);
		return true;
	}
	if (kind_of(type) != BTF_KIND_INT)
		return false;
	*ret = BTF_INT_ENCODING(*(const uint32_t *)(type + 1)) & BTF_INT_SIGNED;
	return true;
}
