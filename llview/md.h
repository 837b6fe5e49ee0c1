/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Debug information, read by operand: LLVM-C has getters for part of it only. The operand numbers
 * are those of LLVM 19's DebugInfoMetadata.h.
 */
#ifndef LLVIEW_MD_H
#define LLVIEW_MD_H

#include <llvm-c/DebugInfo.h>

#include "llview.h"

/** Operands of DIType nodes. */
enum lv_di_operand {
	LV_DI_NAME = 2,
	LV_DI_BASE = 3,
	LV_DI_ELEMENTS = 4,
};

/** DWARF 5 tags, table 7.3. */
enum lv_dwarf_tag {
	LV_DW_ARRAY = 0x01,
	LV_DW_ENUMERATION = 0x04,
	LV_DW_MEMBER = 0x0d,
	LV_DW_POINTER = 0x0f,
	LV_DW_STRUCT = 0x13,
	LV_DW_TYPEDEF = 0x16,
	LV_DW_UNION = 0x17,
	LV_DW_BASE = 0x24,
	LV_DW_CONST = 0x26,
	LV_DW_VOLATILE = 0x35,
	LV_DW_RESTRICT = 0x37,
	LV_DW_ATOMIC = 0x47,
	LV_DW_SUBROUTINE = 0x15,
};

/** Operand @p index of @p node, or NULL. */
LLVMMetadataRef lv_md_operand(struct lv *lv, LLVMMetadataRef node, unsigned int index);

/** Number of operands. */
unsigned int lv_md_count(struct lv *lv, LLVMMetadataRef node);

/** The text of an MDString, as new memory; NULL if @p node is not one. */
char *lv_md_string(struct lv *lv, LLVMMetadataRef node);

/** Name of a type or member as new memory; "" if it has none. */
char *lv_di_name(LLVMMetadataRef type);

/** @p type without const, volatile, restrict; with typedefs too if @p typedefs. NULL is void. */
LLVMMetadataRef lv_di_strip(struct lv *lv, LLVMMetadataRef type, bool typedefs);

/** Number of elements of an array type; 0 if it is not known. */
uint64_t lv_di_array_count(struct lv *lv, LLVMMetadataRef array);

/** Size in bytes; 0 if not known. */
uint64_t lv_di_size(struct lv *lv, LLVMMetadataRef type);

/** True if @p member is a bit field. */
bool lv_di_is_bitfield(LLVMMetadataRef member);

#endif
