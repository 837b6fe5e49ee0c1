// SPDX-License-Identifier: Apache-2.0
// Access paths: types_resolve_path() of btf.h.
#include <linux/btf.h>
#include <string.h>

#include "btf.h"
#include "util/parse.h"

enum {
	MAX_MEMBER_NAME = 128,
	MAX_ELEMENTS = 256,
};

struct cursor {
	const struct types *types;
	const char *path;
	const char *at;
	struct type_location *location;
};

static struct gs_error *no_such(const struct cursor *cursor, const char *what)
{
	const char *name =
		types_name(cursor->types, types_resolve(cursor->types, cursor->location->type_id));

	return gs_error_create(GS_ERROR_DETECTOR, "%s at \"%.64s\" of \"%.128s\" (in %s)", what,
			       cursor->at, cursor->path, *name ? name : "an anonymous type");
}

static struct gs_error *step_member(struct cursor *cursor, const char **end_ret)
{
	char name[MAX_MEMBER_NAME];
	size_t len = strcspn(cursor->at, ".[-");
	struct type_location *location = cursor->location;
	struct type_member member;

	if (!len || len >= sizeof(name))
		return no_such(cursor, "no member name");
	memcpy(name, cursor->at, len);
	name[len] = '\0';

	if (!types_find_member(cursor->types, location->type_id, name, &member))
		return no_such(cursor, "no such member");
	if (__builtin_add_overflow(location->bit_offset, member.bit_offset, &location->bit_offset))
		return no_such(cursor, "offset out of range");
	location->type_id = member.type_id;
	location->bitfield = member.bitfield;
	location->bit_size = member.bit_size;
	*end_ret = cursor->at + len;
	return NULL;
}

static struct gs_error *step_index(struct cursor *cursor, const char **end_ret)
{
	struct type_location *location = cursor->location;
	const char *text = cursor->at + 1;
	uint64_t index, size, offset;
	uint32_t element, count;

	if (!gs_parse_decimal(&text, &index) || *text != ']')
		return no_such(cursor, "no index");

	// "[N]" before anything else counts root objects.
	if (cursor->at == cursor->path) {
		element = location->type_id;
	} else {
		if (!types_array(cursor->types, location->type_id, &element, &count))
			return no_such(cursor, "no array");
		if (count && index >= count)
			return no_such(cursor, "index behind the end of the array");
	}

	if (!types_sizeof(cursor->types, element, &size) ||
	    __builtin_mul_overflow(size, index, &offset) ||
	    __builtin_mul_overflow(offset, 8, &offset) ||
	    __builtin_add_overflow(location->bit_offset, offset, &location->bit_offset))
		return no_such(cursor, "offset out of range");
	location->type_id = element;
	location->bitfield = false;
	*end_ret = text + 1;
	return NULL;
}

static struct gs_error *step_pointer(struct cursor *cursor)
{
	struct type_location *location = cursor->location;
	uint32_t pointee;

	if (!types_pointee(cursor->types, location->type_id, &pointee))
		return no_such(cursor, "no pointer");
	location->type_id = pointee;
	location->bit_offset = 0;
	location->bitfield = false;
	location->derefs++;
	return NULL;
}

static struct gs_error *finish(struct cursor *cursor)
{
	struct type_location *location = cursor->location;
	const struct types *types = cursor->types;

	location->resolved_id = types_resolve(types, location->type_id);
	location->kind = types_kind(types, location->resolved_id);
	types_is_signed(types, location->resolved_id, &location->is_signed);
	if (!types_sizeof(types, location->resolved_id, &location->byte_size))
		location->byte_size = 0;
	if (!location->bitfield &&
	    __builtin_mul_overflow(location->byte_size, 8, &location->bit_size))
		return no_such(cursor, "size out of range");
	return NULL;
}

struct gs_error *types_resolve_path(const struct types *types, uint32_t root, const char *path,
				    struct type_location *ret)
{
	struct cursor cursor = { types, path, path, ret };

	*ret = (struct type_location){ .type_id = root };
	for (int i = 0; *cursor.at; i++) {
		struct gs_error *err;
		const char *end = cursor.at;

		if (i == MAX_ELEMENTS)
			return no_such(&cursor, "path too long");
		if (*cursor.at == '[') {
			err = step_index(&cursor, &end);
		} else if (cursor.at[0] == '-' && cursor.at[1] == '>') {
			err = step_pointer(&cursor);
			cursor.at += 2;
			// "->" alone is the object that the pointer points to.
			if (!err && *cursor.at && *cursor.at != '[')
				err = step_member(&cursor, &end);
			else
				end = cursor.at;
		} else {
			if (*cursor.at == '.' && cursor.at != path)
				cursor.at++;
			err = step_member(&cursor, &end);
		}
		if (err)
			return err;
		cursor.at = end;
	}
	return finish(&cursor);
}
