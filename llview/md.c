// SPDX-License-Identifier: Apache-2.0
#include "md.h"

#include <string.h>

LLVMMetadataRef lv_md_operand(struct lv *lv, LLVMMetadataRef node, unsigned int index)
{
	if (!node || index >= lv_md_count(lv, node))
		return NULL;

	LLVMValueRef value = LLVMMetadataAsValue(lv->llvm, node);
	unsigned int count = LLVMGetMDNodeNumOperands(value);
	_cleanup_free_ LLVMValueRef *operands = calloc(count, sizeof(*operands));

	if (!operands)
		lv_enomem();
	LLVMGetMDNodeOperands(value, operands);
	return operands[index] ? LLVMValueAsMetadata(operands[index]) : NULL;
}

unsigned int lv_md_count(struct lv *lv, LLVMMetadataRef node)
{
	return node ? LLVMGetMDNodeNumOperands(LLVMMetadataAsValue(lv->llvm, node)) : 0;
}

char *lv_md_string(struct lv *lv, LLVMMetadataRef node)
{
	if (!node || LLVMGetMetadataKind(node) != LLVMMDStringMetadataKind)
		return NULL;

	unsigned int length;
	const char *text = LLVMGetMDString(LLVMMetadataAsValue(lv->llvm, node), &length);

	return lv_format("%.*s", (int)length, text);
}

char *lv_di_name(LLVMMetadataRef type)
{
	size_t length = 0;
	const char *name = type ? LLVMDITypeGetName(type, &length) : NULL;

	return lv_format("%.*s", (int)length, name ? name : "");
}

LLVMMetadataRef lv_di_strip(struct lv *lv, LLVMMetadataRef type, bool typedefs)
{
	while (type) {
		uint16_t tag = LLVMGetDINodeTag(type);

		if (tag != LV_DW_CONST && tag != LV_DW_VOLATILE && tag != LV_DW_RESTRICT &&
		    tag != LV_DW_ATOMIC && !(typedefs && tag == LV_DW_TYPEDEF))
			break;
		type = lv_md_operand(lv, type, LV_DI_BASE);
	}
	return type;
}

uint64_t lv_di_array_count(struct lv *lv, LLVMMetadataRef array)
{
	// The first operand of the first DISubrange is its count.
	LLVMMetadataRef range = lv_md_operand(lv, lv_md_operand(lv, array, LV_DI_ELEMENTS), 0);
	LLVMMetadataRef count = lv_md_operand(lv, range, 0);

	if (!count)
		return 0;

	LLVMValueRef value = LLVMMetadataAsValue(lv->llvm, count);
	LLVMValueRef operands[8];

	// A ConstantAsMetadata only shows its constant as an operand of the node that holds it.
	value = LLVMMetadataAsValue(lv->llvm, range);
	if (LLVMGetMDNodeNumOperands(value) > 8)
		return 0;
	LLVMGetMDNodeOperands(value, operands);
	if (!operands[0] || !LLVMIsAConstantInt(operands[0]))
		return 0;

	int64_t n = LLVMConstIntGetSExtValue(operands[0]);

	return n > 0 ? n : 0;
}

uint64_t lv_di_size(struct lv *lv, LLVMMetadataRef type)
{
	type = lv_di_strip(lv, type, true);
	return type ? LLVMDITypeGetSizeInBits(type) / 8 : 0;
}

bool lv_di_is_bitfield(LLVMMetadataRef member)
{
	return LLVMGetDINodeTag(member) == LV_DW_MEMBER &&
	       (LLVMDITypeGetFlags(member) & LLVMDIFlagBitField);
}
