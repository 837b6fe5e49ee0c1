// SPDX-License-Identifier: Apache-2.0
#include "btf_blob.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

enum {
	// BTF_MAX_TYPE of the kernel's verifier, which its own BTF passes too.
	MAX_TYPES = 0x000fffff,
};

struct blob {
	const uint8_t *data;
	size_t size;
	struct btf_header header;
	const uint8_t *types;
	const char *strings;
	// One more than the highest id.
	uint32_t count;
};

static struct gs_error *damaged(const char *what, uint32_t id)
{
	return gs_error_create(GS_ERROR_KERNEL,
			       "the kernel's types (BTF) are damaged: %s in type %u", what, id);
}

// Bytes behind struct btf_type; negative: unknown kind.
static int64_t extra_size(const struct btf_type *type)
{
	uint64_t vlen = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	case BTF_KIND_INT:
		return sizeof(uint32_t);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return vlen * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return vlen * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return vlen * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return vlen * sizeof(struct btf_param);
	case BTF_KIND_VAR:
		return sizeof(struct btf_var);
	case BTF_KIND_DATASEC:
		return vlen * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG:
		return sizeof(struct btf_decl_tag);
	default:
		return -1;
	}
}

// Every record must lie in the section: afterwards their sizes can be relied on.
static struct gs_error *count_records(struct blob *blob)
{
	uint32_t id = 1;

	for (uint32_t offset = 0; offset < blob->header.type_len; id++) {
		const struct btf_type *type = (const struct btf_type *)(blob->types + offset);
		uint32_t left = blob->header.type_len - offset;

		if (id > MAX_TYPES)
			return damaged("too many types", id);
		if (left < sizeof(*type))
			return damaged("record cut off", id);

		int64_t extra = extra_size(type);

		if (extra < 0)
			return gs_error_create(
				GS_ERROR_KERNEL,
				"the kernel's types (BTF) have a record of unknown kind %u in type %u: "
				"damaged, or newer than this program",
				BTF_INFO_KIND(type->info), id);
		if (left - sizeof(*type) < (uint64_t)extra)
			return damaged("record cut off", id);
		offset += sizeof(*type) + extra;
	}
	blob->count = id;
	return NULL;
}

struct checker {
	const struct blob *blob;
	bool ok;
};

static void check_id(struct checker *checker, uint32_t id)
{
	checker->ok &= id < checker->blob->count;
}

static void check_name(struct checker *checker, uint32_t offset)
{
	checker->ok &= offset < checker->blob->header.str_len;
}

static void check_record(struct checker *checker, const struct btf_type *type)
{
	uint32_t vlen = BTF_INFO_VLEN(type->info);
	const void *extra = type + 1;
	const struct btf_array *array = extra;
	const struct btf_member *member = extra;
	const struct btf_enum *value = extra;
	const struct btf_enum64 *value64 = extra;
	const struct btf_param *param = extra;
	const struct btf_var_secinfo *var = extra;

	check_name(checker, type->name_off);
	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
	case BTF_KIND_TYPE_TAG:
		check_id(checker, type->type);
		break;
	case BTF_KIND_ARRAY:
		check_id(checker, array->type);
		check_id(checker, array->index_type);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		for (uint32_t i = 0; i < vlen; i++) {
			check_name(checker, member[i].name_off);
			check_id(checker, member[i].type);
		}
		break;
	case BTF_KIND_ENUM:
		for (uint32_t i = 0; i < vlen; i++)
			check_name(checker, value[i].name_off);
		break;
	case BTF_KIND_ENUM64:
		for (uint32_t i = 0; i < vlen; i++)
			check_name(checker, value64[i].name_off);
		break;
	case BTF_KIND_FUNC_PROTO:
		check_id(checker, type->type);
		for (uint32_t i = 0; i < vlen; i++) {
			check_name(checker, param[i].name_off);
			check_id(checker, param[i].type);
		}
		break;
	case BTF_KIND_DATASEC:
		for (uint32_t i = 0; i < vlen; i++)
			check_id(checker, var[i].type);
		break;
	default:
		break;
	}
}

static struct gs_error *check_records(const struct blob *blob)
{
	struct checker checker = { blob, true };
	const uint8_t *at = blob->types;

	for (uint32_t id = 1; id < blob->count; id++) {
		const struct btf_type *type = (const struct btf_type *)at;

		check_record(&checker, type);
		if (!checker.ok)
			return damaged("a name or type id is out of range", id);
		at += sizeof(*type) + extra_size(type);
	}
	return NULL;
}

static struct gs_error *find_sections(struct blob *blob)
{
	struct btf_header *header = &blob->header;

	if (blob->size < sizeof(*header))
		return gs_error_create(GS_ERROR_KERNEL,
				       "the kernel's types (BTF) are cut off: %zu bytes",
				       blob->size);
	memcpy(header, blob->data, sizeof(*header));
	if (header->magic != BTF_MAGIC || header->version != BTF_VERSION)
		return gs_error_create(GS_ERROR_KERNEL,
				       "no BTF where __start_BTF says: magic 0x%04x, version %u",
				       header->magic, header->version);

	// Later kernels may append fields to the header; hdr_len says where the sections begin.
	if (header->hdr_len < sizeof(*header) || header->hdr_len > blob->size)
		return gs_error_create(GS_ERROR_KERNEL,
				       "the kernel's BTF header is damaged: length %u",
				       header->hdr_len);

	uint64_t rest = blob->size - header->hdr_len;

	if ((uint64_t)header->type_off + header->type_len > rest ||
	    (uint64_t)header->str_off + header->str_len > rest || header->hdr_len % 4 ||
	    header->type_off % 4 || !header->str_len)
		return gs_error_create(
			GS_ERROR_KERNEL,
			"the kernel's BTF header is damaged: types %u+%u, strings %u+%u of %zu bytes",
			header->type_off, header->type_len, header->str_off, header->str_len,
			blob->size);
	blob->types = blob->data + header->hdr_len + header->type_off;
	blob->strings = (const char *)blob->data + header->hdr_len + header->str_off;
	if (blob->strings[0] || blob->strings[header->str_len - 1])
		return gs_error_create(GS_ERROR_KERNEL, "the kernel's BTF strings are damaged");
	return NULL;
}

// libbpf wants the header that it knows, the sections one behind the other, and nothing else: what a later kernel
// has more is cut off.
static void *plain_blob(const struct blob *blob, size_t *size_ret)
{
	struct btf_header plain = blob->header;

	plain.hdr_len = sizeof(plain);
	plain.type_off = 0;
	plain.str_off = plain.type_len;
	*size_ret = sizeof(plain) + plain.type_len + plain.str_len;

	char *copy = malloc(*size_ret);

	if (!copy)
		return NULL;
	memcpy(copy, &plain, sizeof(plain));
	memcpy(copy + sizeof(plain), blob->types, plain.type_len);
	memcpy(copy + sizeof(plain) + plain.str_off, blob->strings, plain.str_len);
	return copy;
}

static bool is_plain(const struct blob *blob)
{
	const struct btf_header *header = &blob->header;

	return header->hdr_len == sizeof(*header) && !header->type_off &&
	       header->str_off == header->type_len &&
	       blob->size == sizeof(*header) + header->type_len + header->str_len;
}

struct gs_error *btf_blob_parse(const void *data, size_t size, struct btf **ret)
{
	struct blob blob = { .data = data, .size = size };
	struct gs_error *err = find_sections(&blob);

	if (!err)
		err = count_records(&blob);
	if (!err)
		err = check_records(&blob);
	if (err)
		return err;

	_cleanup_free_ void *plain = NULL;

	if (!is_plain(&blob)) {
		data = plain = plain_blob(&blob, &size);
		if (!plain)
			return &gs_enomem;
	}
	// What libbpf has to say is in the error.
	libbpf_set_print(NULL);

	struct btf *btf = btf__new(data, size);
	long failed = libbpf_get_error(btf);

	if (failed)
		return gs_error_errno(GS_ERROR_KERNEL, failed < 0 ? -failed : failed,
				      "libbpf does not accept the kernel's types (BTF)");
	*ret = btf;
	return NULL;
}
