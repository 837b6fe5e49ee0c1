// SPDX-License-Identifier: Apache-2.0
#include "path.h"

#include <string.h>

// Where a walk along a path stands: in `type`; in an array of several dimensions at `dimension`.
struct cursor {
	LLVMMetadataRef type;
	unsigned int dimension;
};

static void append(char **text, const char *separator, const char *more)
{
	char *longer = lv_format("%s%s%s", *text, separator, more);

	free(*text);
	*text = longer;
}

static void append_index(char **text, unsigned long index)
{
	char *longer = lv_format("%s[%lu]", *text, index);

	free(*text);
	*text = longer;
}

static void enter(struct lv *lv, struct cursor *cursor, LLVMMetadataRef type)
{
	cursor->type = lv_di_strip(lv, type, true);
	cursor->dimension = 0;
}

static bool step_member(struct lv *lv, struct cursor *cursor, unsigned long index,
			struct lv_path *path)
{
	LLVMMetadataRef elements = lv_md_operand(lv, cursor->type, LV_DI_ELEMENTS);
	LLVMMetadataRef member = lv_md_operand(lv, elements, index);

	if (!member)
		return false;

	_cleanup_free_ char *name = lv_di_name(member);

	if (name[0])
		append(&path->text, ".", name);
	path->bitfield = lv_di_is_bitfield(member);
	enter(lv, cursor, lv_md_operand(lv, member, LV_DI_BASE));
	return true;
}

static bool step_array(struct lv *lv, struct cursor *cursor, unsigned long index,
		       struct lv_path *path)
{
	LLVMMetadataRef dimensions = lv_md_operand(lv, cursor->type, LV_DI_ELEMENTS);

	append_index(&path->text, index);
	if (++cursor->dimension >= lv_md_count(lv, dimensions))
		enter(lv, cursor, lv_md_operand(lv, cursor->type, LV_DI_BASE));
	return true;
}

static bool step(struct lv *lv, struct cursor *cursor, unsigned long index, struct lv_path *path)
{
	path->bitfield = false;
	if (!cursor->type)
		return false;

	switch (LLVMGetDINodeTag(cursor->type)) {
	case LV_DW_STRUCT:
	case LV_DW_UNION:
		return step_member(lv, cursor, index, path);
	case LV_DW_ARRAY:
		return step_array(lv, cursor, index, path);
	default:
		return false;
	}
}

static void measure(struct lv *lv, const struct cursor *cursor, struct lv_path *path)
{
	LLVMMetadataRef type = cursor->type;

	if (!type || cursor->dimension)
		return;
	path->size = lv_di_size(lv, type);
	if (LLVMGetDINodeTag(type) != LV_DW_ARRAY ||
	    lv_md_count(lv, lv_md_operand(lv, type, LV_DI_ELEMENTS)) != 1)
		return;

	LLVMMetadataRef element = lv_di_strip(lv, lv_md_operand(lv, type, LV_DI_BASE), true);

	if (element && LLVMGetDINodeTag(element) == LV_DW_BASE &&
	    LLVMDITypeGetSizeInBits(element) == 8)
		path->chars = lv_di_array_count(lv, type);
}

static bool parse_enumerator(struct lv *lv, LLVMMetadataRef type, const char *numbers,
			     struct lv_path *ret)
{
	LLVMMetadataRef elements = lv_md_operand(lv, type, LV_DI_ELEMENTS);
	LLVMMetadataRef enumerator = lv_md_operand(lv, elements, strtoul(numbers, NULL, 10));

	// DIEnumerator: value range, name, value. Its name is the only string among its operands.
	for (unsigned int i = 0; enumerator && i < lv_md_count(lv, enumerator) && !ret->text; i++)
		ret->text = lv_md_string(lv, lv_md_operand(lv, enumerator, i));
	return ret->text;
}

bool lv_path_parse(struct lv *lv, LLVMMetadataRef type, const char *numbers, struct lv_path *ret)
{
	LLVMMetadataRef root = lv_di_strip(lv, type, true);
	struct cursor cursor = { .type = root };
	char *end;

	if (!numbers[0]) {
		ret->text = lv_format("%s", "");
		ret->size = lv_di_size(lv, type);
		return true;
	}
	if (root && LLVMGetDINodeTag(root) == LV_DW_ENUMERATION)
		return parse_enumerator(lv, root, numbers, ret);

	ret->text = lv_format("%s", "");

	unsigned long first = strtoul(numbers, &end, 10);

	if (first)
		append_index(&ret->text, first);
	while (*end == ':') {
		unsigned long index = strtoul(end + 1, &end, 10);

		if (!step(lv, &cursor, index, ret)) {
			free(ret->text);
			return false;
		}
	}
	measure(lv, &cursor, ret);
	return true;
}
