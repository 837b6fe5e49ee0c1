// SPDX-License-Identifier: Apache-2.0
#include "engine/resolve.h"

#include <inttypes.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/btf.h"
#include "util/cleanup.h"

// Since Linux kernel commit 6089fb325cf7 ("bpf: Add btf enum64 support") (in v6.0), enums may be of
// kind ENUM64.
#define KIND_ENUM64 19

// A kernel has a handful of types of one name at most; hostile BTF may have any number.
#define MAX_CANDIDATES 64

struct resolver {
	const struct gs_fat *fat;
	const char *name;
	const struct resolve_source *source;
	uint64_t *slots;
	// What refused the detector first, and how often that happened.
	struct gs_error *first;
	size_t refused;
};

// Result of one candidate, and of all of them together.
enum answer {
	ABSENT,
	FOUND,
	// There, but a load as the detector does it would read something else.
	MISFIT,
};

// @format tells what is wrong; the place in the source follows.
__attribute__((format(printf, 3, 4))) static void
refuse(struct resolver *resolver, const struct gs_fat_slot *slot, const char *format, ...)
{
	if (resolver->refused++)
		return;

	_cleanup_free_ char *what = NULL;
	char site[512];
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&what, format, ap) < 0)
		what = NULL;
	va_end(ap);
	fat_site_name(resolver->fat, slot->site, true, site, sizeof(site));
	resolver->first =
		what ? gs_error_create(GS_ERROR_DETECTOR, "%s: the kernel %s %s (used at %s)",
				       resolver->name, resolver->source->release, what, site)
		     : &gs_enomem;
}

static const char *kind_word(uint32_t kind)
{
	switch (kind) {
	case BTF_KIND_STRUCT:
		return "struct ";
	case BTF_KIND_UNION:
		return "union ";
	case BTF_KIND_ENUM:
	case KIND_ENUM64:
		return "enum ";
	default:
		return "";
	}
}

static uint32_t kind_mask(uint32_t kind)
{
	// As libbpf's core_relo_is_enumval_based() candidates: either kind of enum answers for the
	// other.
	if (kind == BTF_KIND_ENUM || kind == KIND_ENUM64)
		return BTF_KIND_MASK(BTF_KIND_ENUM) | BTF_KIND_MASK(KIND_ENUM64);
	return kind ? BTF_KIND_MASK(kind) : 0;
}

// "[2].x" counts whole objects and stays; the dot before a first member is left out.
static const char *member_path(const char *path)
{
	return *path == '.' ? path + 1 : path;
}

static bool is_bitfield_kind(uint16_t kind)
{
	return kind == GS_SLOT_FIELD_LSHIFT || kind == GS_SLOT_FIELD_RSHIFT;
}

static bool is_number(unsigned int kind)
{
	return kind == BTF_KIND_INT || kind == BTF_KIND_PTR || kind == BTF_KIND_ENUM ||
	       kind == KIND_ENUM64 || kind == BTF_KIND_FLOAT;
}

// The unit that a bit field is loaded as: aligned to its size, at first the declared type's,
// doubled until the field fits, as bpf_core_calc_field_relo() does.
static bool storage_unit(const struct type_location *location, uint64_t *offset_ret,
			 uint64_t *size_ret)
{
	uint64_t bytes = location->byte_size;

	if (!bytes || bytes > 8 || (bytes & (bytes - 1)) || !location->bit_size ||
	    location->bit_size > 64)
		return false;
	for (;; bytes *= 2) {
		uint64_t offset = location->bit_offset / 8 / bytes * bytes;

		if (bytes > 8)
			return false;
		if (location->bit_offset - offset * 8 + location->bit_size <= bytes * 8) {
			*offset_ret = offset;
			*size_ret = bytes;
			return true;
		}
	}
}

static enum answer field_value(const struct gs_fat_slot *slot, const struct type_location *location,
			       uint64_t *ret)
{
	uint64_t offset = location->bit_offset / 8, size = location->byte_size;

	if (location->bitfield && !storage_unit(location, &offset, &size))
		return MISFIT;

	switch (slot->kind) {
	case GS_SLOT_FIELD_EXISTS:
		*ret = 1;
		return FOUND;
	case GS_SLOT_FIELD_SIZE:
		*ret = size;
		return FOUND;
	case GS_SLOT_FIELD_SIGNED:
		*ret = location->is_signed;
		return FOUND;
	case GS_SLOT_FIELD_LSHIFT:
	case GS_SLOT_FIELD_RSHIFT: {
		uint64_t bits = location->bitfield ? location->bit_size : size * 8;

		if (!bits || bits > 64 || !is_number(location->kind))
			return MISFIT;
		if (slot->kind == GS_SLOT_FIELD_RSHIFT)
			*ret = 64 - bits;
		else
			*ret = 64 - (location->bit_offset + bits - offset * 8);
		return FOUND;
	}
	default:
		break;
	}

	// An offset. A plain load sees whole bytes of the size that was compiled in.
	if ((slot->flags & GS_SLOT_F_SCALAR) && !(slot->flags & GS_SLOT_F_BITFIELD) &&
	    (location->bitfield || !is_number(location->kind) || size != slot->local_size))
		return MISFIT;
	*ret = offset;
	return FOUND;
}

static enum answer candidate_value(const struct types *types, uint32_t id,
				   const struct gs_fat_slot *slot, const char *path,
				   struct type_location *location, uint64_t *ret)
{
	if (slot->kind == GS_SLOT_ENUMVAL_EXISTS || slot->kind == GS_SLOT_ENUMVAL_VALUE) {
		int64_t value;

		if (!types_find_enumerator(types, types_resolve(types, id), path, &value, NULL))
			return ABSENT;
		*ret = slot->kind == GS_SLOT_ENUMVAL_EXISTS ? 1 : (uint64_t)value;
		return FOUND;
	}

	switch (slot->kind) {
	case GS_SLOT_TYPE_EXISTS:
	case GS_SLOT_TYPE_MATCHES:
		*ret = 1;
		return FOUND;
	case GS_SLOT_TYPE_ID_TARGET:
		*ret = id;
		return FOUND;
	case GS_SLOT_TYPE_SIZE:
		return types_sizeof(types, id, ret) ? FOUND : ABSENT;
	default:
		break;
	}

	_cleanup_error_ struct gs_error *err =
		types_resolve_path(types, id, member_path(path), location);

	// "->" leaves the object that the offset counts from.
	if (err || location->derefs)
		return ABSENT;
	return field_value(slot, location, ret);
}

// Types of one name answer together: those without the field do not count, those with it must
// agree.
static enum answer ask_candidates(const struct types *types, const uint32_t *ids, size_t count,
				  const struct gs_fat_slot *slot, const char *path,
				  struct type_location *misfit_ret, uint64_t *ret,
				  bool *ambiguous_ret)
{
	enum answer answer = ABSENT;

	*ambiguous_ret = false;
	for (size_t i = 0; i < count; i++) {
		struct type_location location = {};
		uint64_t value = 0;
		enum answer one = candidate_value(types, ids[i], slot, path, &location, &value);

		if (one == MISFIT && answer == ABSENT) {
			answer = MISFIT;
			*misfit_ret = location;
		}
		if (one != FOUND)
			continue;
		if (answer != FOUND)
			*ret = value;
		else if (*ret != value && slot->kind != GS_SLOT_TYPE_ID_TARGET)
			*ambiguous_ret = true;
		answer = FOUND;
	}
	return answer;
}

static void refuse_misfit(struct resolver *resolver, const struct gs_fat_slot *slot,
			  const struct type_location *location)
{
	const char *type = fat_string(resolver->fat, slot->name);
	const char *path = fat_string(resolver->fat, slot->path);

	if (location->bitfield && slot->kind == GS_SLOT_FIELD_OFFSET) {
		refuse(resolver, slot, "has %s%s as a bit field: declare it so", type, path);
	} else if (is_number(location->kind) && !is_bitfield_kind(slot->kind)) {
		refuse(resolver, slot, "has %s%s of %" PRIu64 " bytes, the detector reads %u", type,
		       path, location->byte_size, slot->local_size);
	} else {
		refuse(resolver, slot, "has %s%s, but not as a number", type, path);
	}
}

// What the slot holds for something that is not there.
static void fill_absent(struct resolver *resolver, const struct gs_fat_slot *slot,
			size_t candidates, uint64_t *ret)
{
	const char *type = fat_string(resolver->fat, slot->name);
	const char *path = fat_string(resolver->fat, slot->path);
	const char *word = kind_word(slot->type_kind);

	*ret = 0;
	switch (slot->kind) {
	case GS_SLOT_FIELD_EXISTS:
	case GS_SLOT_ENUMVAL_EXISTS:
	case GS_SLOT_TYPE_EXISTS:
	case GS_SLOT_TYPE_MATCHES:
	// As libbpf: "type-based relos return zero when target type is not found".
	case GS_SLOT_TYPE_ID_TARGET:
	case GS_SLOT_TYPE_SIZE:
		return;
	case GS_SLOT_FIELD_OFFSET:
		*ret = GS_SLOT_ABSENT;
		break;
	default:
		break;
	}
	if (slot->flags & GS_SLOT_F_OPTIONAL)
		return;

	if (slot->kind == GS_SLOT_ENUMVAL_VALUE)
		refuse(resolver, slot, "has no enumerator %s in enum %s", path, type);
	else if (!candidates)
		refuse(resolver, slot, "has no type %s%s", word, type);
	else
		refuse(resolver, slot, "has no field %s%s", type, path);
}

static void resolve_type_slot(struct resolver *resolver, const struct gs_fat_slot *slot,
			      uint64_t *ret)
{
	const struct types *types = resolver->source->types;
	const char *type = fat_string(resolver->fat, slot->name);
	const char *path = fat_string(resolver->fat, slot->path);

	// An anonymous enum has no name to find it by; its enumerators are unique in C.
	if (!*type &&
	    (slot->kind == GS_SLOT_ENUMVAL_EXISTS || slot->kind == GS_SLOT_ENUMVAL_VALUE)) {
		int64_t value;

		if (!types_find_any_enumerator(types, path, &value))
			fill_absent(resolver, slot, 0, ret);
		else
			*ret = slot->kind == GS_SLOT_ENUMVAL_EXISTS ? 1 : (uint64_t)value;
		return;
	}

	uint32_t ids[MAX_CANDIDATES];
	size_t count =
		*type ? types_find(types, type, kind_mask(slot->type_kind), ids, MAX_CANDIDATES)
		      : 0;
	struct type_location misfit = {};
	bool ambiguous;

	if (count > MAX_CANDIDATES)
		count = MAX_CANDIDATES;

	switch (ask_candidates(types, ids, count, slot, path, &misfit, ret, &ambiguous)) {
	case ABSENT:
		fill_absent(resolver, slot, count, ret);
		break;
	case MISFIT:
		refuse_misfit(resolver, slot, &misfit);
		break;
	case FOUND:
		if (ambiguous) {
			refuse(resolver, slot, "has several types %s%s that differ in %s",
			       kind_word(slot->type_kind), type,
			       *path ? member_path(path) : "size");
		}
		break;
	}
}

bool resolve_needs_types(const struct gs_fat *fat)
{
	return fat->fields;
}

bool resolve_needs_symbols(const struct gs_fat *fat)
{
	return fat->symbols;
}

// All symbols in one pass over the kernel's table.
static struct gs_error *resolve_symbols(struct resolver *resolver)
{
	const struct gs_fat *fat = resolver->fat;
	const struct resolve_source *source = resolver->source;
	_cleanup_free_ struct gs_symbol_query *queries = calloc(fat->symbols, sizeof(*queries));

	if (!queries)
		return &gs_enomem;

	size_t count = 0;

	for (uint32_t i = 0; i < fat->header->slots.count; i++) {
		if (fat->slots[i].kind == GS_SLOT_SYMBOL)
			queries[count++].name = fat_string(fat, fat->slots[i].name);
	}

	struct gs_error *err = source->find_symbols(source->arg, queries, count);

	if (err)
		return gs_error_prefix(err, "%s", resolver->name);

	count = 0;
	for (uint32_t i = 0; i < fat->header->slots.count; i++) {
		const struct gs_fat_slot *slot = &fat->slots[i];

		if (slot->kind != GS_SLOT_SYMBOL)
			continue;

		const struct gs_symbol_query *query = &queries[count++];

		if (query->found)
			resolver->slots[i] =
				query->address + (query->percpu ? source->percpu_start : 0);
		else if (!(slot->flags & GS_SLOT_F_OPTIONAL))
			refuse(resolver, slot, "has no symbol %s", query->name);
	}
	return NULL;
}

struct gs_error *resolve_slots(const struct gs_fat *fat, const char *name,
			       const struct resolve_source *source, uint64_t *slots)
{
	struct resolver resolver = { .fat = fat, .name = name, .source = source, .slots = slots };

	memset(slots, 0, fat->header->slots.count * sizeof(*slots));
	for (uint32_t i = 0; i < fat->header->slots.count; i++) {
		if (fat->slots[i].kind == GS_SLOT_PARAM)
			slots[i] = fat->slots[i].local_value;
		else if (fat->slots[i].kind != GS_SLOT_SYMBOL)
			resolve_type_slot(&resolver, &fat->slots[i], &slots[i]);
	}
	if (resolve_needs_symbols(fat)) {
		struct gs_error *err = resolve_symbols(&resolver);

		if (err) {
			gs_error_destroy(resolver.first);
			return err;
		}
	}
	if (resolver.refused < 2)
		return resolver.first;

	struct gs_error *err =
		gs_error_create(GS_ERROR_DETECTOR, "%s; %zu more do not fit this kernel",
				resolver.first->message, resolver.refused - 1);

	gs_error_destroy(resolver.first);
	return err;
}

static struct gs_error *kernel_symbols(void *arg, struct gs_symbol_query *queries, size_t count)
{
	return gs_kernel_find_symbols(arg, queries, count);
}

struct gs_error *resolve_from_kernel(const struct gs_fat *fat, const char *name,
				     struct gs_kernel *kernel, uint64_t *slots)
{
	struct types *types = NULL;

	if (resolve_needs_types(fat)) {
		struct gs_error *err = gs_kernel_types(kernel, &types);

		if (err)
			return gs_error_prefix(err, "%s", name);
	}

	struct resolve_source source = {
		.release = gs_kernel_release(kernel),
		.types = types,
		.find_symbols = kernel_symbols,
		.arg = kernel,
		.percpu_start = gs_kernel_map(kernel)->percpu_start,
	};

	return resolve_slots(fat, name, &source, slots);
}
