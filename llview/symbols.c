// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"

static uint32_t symbol_slot(struct lv *lv, LLVMValueRef global, LLVMValueRef user)
{
	size_t length;
	const char *name = LLVMGetValueName2(global, &length);
	bool weak = LLVMGetLinkage(global) == LLVMExternalWeakLinkage;
	struct lv_slot slot = {
		.fat = {
			.kind = GS_SLOT_SYMBOL,
			.flags = weak ? GS_SLOT_F_OPTIONAL : 0,
			.name = lv_string(lv, name),
			.path = lv_string(lv, ""),
		},
	};

	for (size_t i = 0; i < lv->slots.count; i++) {
		if (lv->slots.v[i].fat.kind == GS_SLOT_SYMBOL &&
		    lv->slots.v[i].fat.name == slot.fat.name)
			return i;
	}
	slot.fat.site = lv_site(lv, user);
	lv_push(lv->slots, slot);
	return lv->slots.count - 1;
}

static bool is_ksym(LLVMValueRef value)
{
	if (!LLVMIsAGlobalVariable(value) && !LLVMIsAFunction(value))
		return false;

	const char *section = LLVMGetSection(value);

	return section && strcmp(section, ".ksyms") == 0;
}

// Constants are shared and acyclic, and only expressions over a symbol are of interest.
static bool mentions_ksym(LLVMValueRef value)
{
	if (is_ksym(value))
		return true;
	if (!LLVMIsAConstantExpr(value) && !LLVMIsAConstantStruct(value) &&
	    !LLVMIsAConstantArray(value))
		return false;
	for (int i = 0; i < LLVMGetNumOperands(value); i++) {
		if (mentions_ksym(LLVMGetOperand(value, i)))
			return true;
	}
	return false;
}

static LLVMValueRef materialize(struct lv *lv, LLVMValueRef value, LLVMValueRef user);

static LLVMValueRef materialize_expr(struct lv *lv, LLVMValueRef expr, LLVMValueRef user)
{
	LLVMOpcode op = LLVMGetConstOpcode(expr);
	int count = LLVMGetNumOperands(expr);
	_cleanup_free_ LLVMValueRef *operands = calloc(count, sizeof(*operands));

	if (!operands)
		lv_enomem();
	for (int i = 0; i < count; i++)
		operands[i] = materialize(lv, LLVMGetOperand(expr, i), user);

	switch (op) {
	case LLVMGetElementPtr:
		return LLVMBuildGEP2(lv->builder, LLVMGetGEPSourceElementType(expr), operands[0],
				     operands + 1, count - 1, "");
	case LLVMPtrToInt:
	case LLVMIntToPtr:
	case LLVMBitCast:
	case LLVMAddrSpaceCast:
	case LLVMTrunc:
		return LLVMBuildCast(lv->builder, op, operands[0], LLVMTypeOf(expr), "");
	case LLVMAdd:
	case LLVMSub:
	case LLVMMul:
	case LLVMShl:
	case LLVMXor:
		return LLVMBuildBinOp(lv->builder, op, operands[0], operands[1], "");
	default:
		lv_error(lv, user,
			 "this constant expression over a kernel symbol is not supported");
		return LLVMGetUndef(LLVMTypeOf(expr));
	}
}

// The value of a constant that mentions a symbol, computed by instructions at the builder's place.
static LLVMValueRef materialize(struct lv *lv, LLVMValueRef value, LLVMValueRef user)
{
	if (!mentions_ksym(value))
		return value;
	if (is_ksym(value)) {
		uint32_t slot = symbol_slot(lv, value, user);

		return LLVMBuildIntToPtr(lv->builder, lv_slot_value(lv, slot), lv->ptr, "");
	}
	if (LLVMIsAConstantExpr(value))
		return materialize_expr(lv, value, user);
	lv_error(lv, user, "a kernel symbol inside a constant structure is not supported");
	return LLVMGetUndef(LLVMTypeOf(value));
}

static void replace_in_phi(struct lv *lv, LLVMValueRef phi)
{
	unsigned int count = LLVMCountIncoming(phi);

	for (unsigned int i = 0; i < count; i++) {
		LLVMValueRef value = LLVMGetIncomingValue(phi, i);

		if (!mentions_ksym(value))
			continue;
		LLVMPositionBuilderBefore(
			lv->builder, LLVMGetBasicBlockTerminator(LLVMGetIncomingBlock(phi, i)));
		LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(phi));
		value = materialize(lv, value, phi);
		LLVMSetOperand(phi, i, value);
		// A block that leads here twice must bring the same value both times.
		for (unsigned int j = i + 1; j < count; j++) {
			if (LLVMGetIncomingBlock(phi, j) == LLVMGetIncomingBlock(phi, i))
				LLVMSetOperand(phi, j, value);
		}
	}
}

static void replace_in(struct lv *lv, LLVMValueRef inst)
{
	if (LLVMIsAPHINode(inst)) {
		replace_in_phi(lv, inst);
		return;
	}
	for (int i = 0; i < LLVMGetNumOperands(inst); i++) {
		LLVMValueRef operand = LLVMGetOperand(inst, i);

		if (!LLVMIsAConstant(operand) || !mentions_ksym(operand))
			continue;
		if (LLVMIsACallInst(inst) && operand == LLVMGetCalledValue(inst)) {
			lv_error(lv, inst,
				 "a function of the kernel cannot be called, it is not running");
			return;
		}
		lv_before(lv, inst);
		LLVMSetOperand(inst, i, materialize(lv, operand, inst));
	}
}

void lv_symbols(struct lv *lv)
{
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (LLVMValueRef g = LLVMGetFirstGlobal(lv->module); g; g = LLVMGetNextGlobal(g)) {
		LLVMValueRef init = LLVMGetInitializer(g);

		if (!init || lv_starts(LLVMGetSection(g) ? LLVMGetSection(g) : "", "llvm.") ||
		    !mentions_ksym(init))
			continue;

		_cleanup_place_ struct lv_place place = lv_place_of_global(lv, g);

		lv_error_at(
			lv, &place,
			"the address of a kernel symbol is not known until the detector is loaded: "
			"assign it in the detector, not in an initializer");
	}
	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++)
			replace_in(lv, list.v[j]);
	}
}
