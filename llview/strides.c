// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include <llvm-c/Target.h>

#include "diag.h"
#include "ir.h"
#include "provenance.h"
#include "slots.h"

// `zones[i]`, `p + 1`: clang steps by the size that the type has in the detector. In the watched
// kernel the type may be larger or smaller, so steps over kernel types in kernel memory go by its
// size there. Own arrays keep their own.

void lv_kernel_types(struct lv *lv)
{
	unsigned int kind = LLVMGetEnumAttributeKindForName("elementtype", strlen("elementtype"));
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++) {
			if (!lv_starts(lv_callee(list.v[j]), "llvm.preserve.struct.access.index"))
				continue;

			LLVMAttributeRef attribute =
				LLVMGetCallSiteEnumAttribute(list.v[j], 1, kind);

			if (attribute)
				lv_push(lv->kernel_types, LLVMGetTypeAttributeValue(attribute));
		}
	}
}

// "struct.zone", "union.u"; linking several files may add ".12". Anonymous ones are "struct.anon".
static char *type_name(LLVMTypeRef type, uint32_t *ret_kind)
{
	const char *name = LLVMGetStructName(type);

	if (!name)
		return NULL;
	if (lv_starts(name, "struct."))
		*ret_kind = LV_BTF_STRUCT;
	else if (lv_starts(name, "union."))
		*ret_kind = LV_BTF_UNION;
	else
		return NULL;
	name = strchr(name, '.') + 1;

	size_t length = strcspn(name, ".");

	if (length == strlen("anon") && lv_starts(name, "anon"))
		return NULL;
	return lv_format("%.*s", (int)length, name);
}

static bool is_kernel_type(struct lv *lv, LLVMTypeRef type)
{
	for (size_t i = 0; i < lv->kernel_types.count; i++) {
		if (lv->kernel_types.v[i] == type)
			return true;
	}
	return false;
}

// The kernel type that an array, of any dimension, consists of; or the type itself; or NULL.
static LLVMTypeRef kernel_element(struct lv *lv, LLVMTypeRef type, uint64_t *ret_count)
{
	*ret_count = 1;
	while (LLVMGetTypeKind(type) == LLVMArrayTypeKind) {
		*ret_count *= LLVMGetArrayLength2(type);
		type = LLVMGetElementType(type);
	}
	if (LLVMGetTypeKind(type) != LLVMStructTypeKind || !is_kernel_type(lv, type))
		return NULL;

	uint32_t kind;
	_cleanup_free_ char *name = type_name(type, &kind);

	return name ? type : NULL;
}

static uint32_t size_slot(struct lv *lv, LLVMTypeRef type, LLVMValueRef user)
{
	uint32_t kind;
	_cleanup_free_ char *name = type_name(type, &kind);
	struct lv_slot slot = { .flavor = lv_strip_flavor(name) };

	slot.fat = (struct gs_fat_slot){
		.kind = GS_SLOT_TYPE_SIZE,
		.type_kind = kind,
		.name = lv_string(lv, name),
		.path = lv_string(lv, ""),
		.site = lv_site(lv, user),
		.local_value = LLVMABISizeOfType(LLVMGetModuleDataLayout(lv->module), type),
	};
	return lv_add_slot(lv, &slot);
}

static bool is_zero(LLVMValueRef value)
{
	return LLVMIsAConstantInt(value) && !LLVMConstIntGetZExtValue(value);
}

static LLVMTypeRef step_into(LLVMTypeRef type, LLVMValueRef index)
{
	if (LLVMGetTypeKind(type) == LLVMStructTypeKind)
		return LLVMStructGetTypeAtIndex(type, LLVMConstIntGetZExtValue(index));
	return LLVMGetElementType(type);
}

static bool steps_over_kernel_type(struct lv *lv, LLVMValueRef gep)
{
	LLVMTypeRef type = LLVMGetGEPSourceElementType(gep);
	uint64_t count;

	for (int i = 1; i < LLVMGetNumOperands(gep); i++) {
		LLVMValueRef index = LLVMGetOperand(gep, i);

		if (i > 1) {
			bool member = LLVMGetTypeKind(type) == LLVMStructTypeKind;

			type = step_into(type, index);
			if (member)
				continue;
		}
		if (!is_zero(index) && kernel_element(lv, type, &count))
			return true;
	}
	return false;
}

static LLVMValueRef stride(struct lv *lv, LLVMTypeRef type, LLVMValueRef gep)
{
	uint64_t count;
	LLVMTypeRef element = kernel_element(lv, type, &count);

	if (!element)
		return lv_u64(lv, LLVMABISizeOfType(LLVMGetModuleDataLayout(lv->module), type));
	return LLVMBuildMul(lv->builder, lv_slot_value(lv, size_slot(lv, element, gep)),
			    lv_u64(lv, count), "");
}

static void relocate(struct lv *lv, LLVMValueRef gep)
{
	LLVMTargetDataRef layout = LLVMGetModuleDataLayout(lv->module);
	LLVMTypeRef type = LLVMGetGEPSourceElementType(gep);
	LLVMValueRef offset = lv_u64(lv, 0);

	lv_before(lv, gep);
	for (int i = 1; i < LLVMGetNumOperands(gep); i++) {
		LLVMValueRef index = LLVMGetOperand(gep, i);

		if (i > 1 && LLVMGetTypeKind(type) == LLVMStructTypeKind) {
			uint64_t member =
				LLVMOffsetOfElement(layout, type, LLVMConstIntGetZExtValue(index));

			offset = LLVMBuildAdd(lv->builder, offset, lv_u64(lv, member), "");
			type = step_into(type, index);
			continue;
		}
		if (i > 1)
			type = step_into(type, index);

		LLVMValueRef wide = LLVMBuildIntCast2(lv->builder, index, lv->i64, true, "");

		if (is_zero(index))
			continue;
		wide = LLVMBuildMul(lv->builder, wide, stride(lv, type, gep), "");
		offset = LLVMBuildAdd(lv->builder, offset, wide, "");
	}
	lv_replace(gep, LLVMBuildGEP2(lv->builder, lv->i8, LLVMGetOperand(gep, 0), &offset, 1, ""));
}

void lv_strides(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		LLVMValueRef fn = lv->detectors.v[d].function;
		_cleanup_values_ struct lv_values list = lv_instructions(fn);
		_cleanup_values_ struct lv_values found = {};
		struct lv_provenance *prov = lv_provenance_create(lv, fn);

		for (size_t i = 0; i < list.count; i++) {
			LLVMValueRef gep = list.v[i];

			if (!LLVMIsAGetElementPtrInst(gep) || !LLVMGetFirstUse(gep) ||
			    !steps_over_kernel_type(lv, gep))
				continue;
			switch (lv_origin(prov, LLVMGetOperand(gep, 0))) {
			case LV_ORIGIN_KERNEL:
				lv_push(found, gep);
				break;
			case LV_ORIGIN_MIXED:
				lv_error(
					lv, gep,
					"a step over a kernel type from a pointer that may lead to an own "
					"variable or into kernel memory, where its size differs");
				break;
			default:
				break;
			}
		}
		lv_provenance_destroy(prov);
		for (size_t i = 0; i < found.count; i++)
			relocate(lv, found.v[i]);
	}
	lv_slots_finish(lv);
}
