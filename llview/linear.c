// SPDX-License-Identifier: Apache-2.0
#include "linear.h"

#include <string.h>

#include <llvm-c/Target.h>

#include "ir.h"

enum { MOVING = 1, SETTLED = 2 };

// Deeper expressions are taken as they are.
enum { MAX_DEPTH = 12 };

static bool is_i64(struct lv *lv, LLVMValueRef value)
{
	return LLVMTypeOf(value) == lv->i64;
}

// Without effects and without traps.
static bool is_pure(LLVMValueRef inst)
{
	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMAdd:
	case LLVMSub:
	case LLVMMul:
	case LLVMShl:
	case LLVMLShr:
	case LLVMAShr:
	case LLVMAnd:
	case LLVMOr:
	case LLVMXor:
	case LLVMICmp:
	case LLVMSelect:
	case LLVMZExt:
	case LLVMSExt:
	case LLVMTrunc:
	case LLVMIntToPtr:
	case LLVMPtrToInt:
		return true;
	default:
		return strcmp(lv_callee(inst), "gs.slot") == 0 ||
		       strcmp(lv_callee(inst), "gs.param") == 0;
	}
}

static bool settled(struct lv_linears *linears, LLVMValueRef value, unsigned int depth)
{
	if (LLVMIsAConstantInt(value) || LLVMIsAConstantPointerNull(value))
		return true;
	if (!LLVMIsAInstruction(value) || !depth)
		return false;

	struct lv_ptrmap_entry *known = lv_ptrmap_find(&linears->values, value);

	if (known)
		return known->number == SETTLED;

	bool all = is_pure(value);

	// The callee is the last operand of a call.
	for (int i = 0; all && i < LLVMGetNumOperands(value) - !!LLVMIsACallInst(value); i++)
		all = settled(linears, LLVMGetOperand(value, i), depth - 1);
	lv_ptrmap_add(&linears->values, value)->number = all ? SETTLED : MOVING;
	return all;
}

bool lv_settled(struct lv_linears *linears, LLVMValueRef value)
{
	return settled(linears, value, MAX_DEPTH);
}

// --- taking apart ---

static bool add_term(struct lv_sum *sum, LLVMValueRef value, uint64_t factor)
{
	unsigned int i = 0;

	while (i < sum->count && sum->v[i].value < value)
		i++;
	if (i < sum->count && sum->v[i].value == value) {
		sum->v[i].factor += factor;
		if (!sum->v[i].factor) {
			sum->count--;
			memmove(&sum->v[i], &sum->v[i + 1], (sum->count - i) * sizeof(*sum->v));
		}
		return true;
	}
	if (sum->count == LV_TERMS)
		return false;
	memmove(&sum->v[i + 1], &sum->v[i], (sum->count - i) * sizeof(*sum->v));
	sum->v[i] = (struct lv_term){ value, factor };
	sum->count++;
	return true;
}

static bool take(struct lv_linears *linears, LLVMValueRef value, uint64_t factor,
		 unsigned int depth, struct lv_linear *out);

static bool take_atom(struct lv_linears *linears, LLVMValueRef value, uint64_t factor,
		      struct lv_linear *out)
{
	if (LLVMIsAConstantInt(value)) {
		out->constant += factor * LLVMConstIntGetZExtValue(value);
		return true;
	}
	if (LLVMIsAConstantPointerNull(value))
		return true;
	if (!LLVMIsAInstruction(value))
		return false;
	return add_term(lv_settled(linears, value) ? &out->settled : &out->moving, value, factor);
}

static bool can_take_gep(struct lv *lv, LLVMValueRef gep)
{
	LLVMTypeRef type = LLVMGetGEPSourceElementType(gep);

	for (int i = 1; i < LLVMGetNumOperands(gep); i++) {
		LLVMValueRef index = LLVMGetOperand(gep, i);

		if (!LLVMIsAConstantInt(index) && !is_i64(lv, index))
			return false;
		if (i == 1)
			continue;
		// What clang makes of members; arrays are stepped through by elements.
		if (LLVMGetTypeKind(type) != LLVMArrayTypeKind)
			return false;
		type = LLVMGetElementType(type);
	}
	return true;
}

static bool take_gep(struct lv_linears *linears, LLVMValueRef gep, uint64_t factor,
		     unsigned int depth, struct lv_linear *out)
{
	LLVMTargetDataRef layout = LLVMGetModuleDataLayout(linears->lv->module);
	LLVMTypeRef type = LLVMGetGEPSourceElementType(gep);

	for (int i = 1; i < LLVMGetNumOperands(gep); i++) {
		LLVMValueRef index = LLVMGetOperand(gep, i);

		if (i > 1)
			type = LLVMGetElementType(type);

		uint64_t size = LLVMABISizeOfType(layout, type);

		if (LLVMIsAConstantInt(index))
			out->constant += factor * size * (uint64_t)LLVMConstIntGetSExtValue(index);
		else if (!take(linears, index, factor * size, depth, out))
			return false;
	}
	return take(linears, LLVMGetOperand(gep, 0), factor, depth, out);
}

static bool take_shifted(struct lv_linears *linears, LLVMValueRef inst, uint64_t factor,
			 unsigned int depth, struct lv_linear *out)
{
	uint64_t by = LLVMConstIntGetZExtValue(LLVMGetOperand(inst, 1));
	uint64_t times = LLVMGetInstructionOpcode(inst) == LLVMMul ? by : UINT64_C(1) << (by & 63);

	return take(linears, LLVMGetOperand(inst, 0), factor * times, depth, out);
}

static bool take_instruction(struct lv_linears *linears, LLVMValueRef inst, uint64_t factor,
			     unsigned int depth, struct lv_linear *out)
{
	struct lv *lv = linears->lv;
	LLVMValueRef a = LLVMGetOperand(inst, 0);

	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMGetElementPtr:
		if (can_take_gep(lv, inst))
			return take_gep(linears, inst, factor, depth, out);
		break;
	case LLVMIntToPtr:
	case LLVMPtrToInt:
		if (is_i64(lv, a) || is_i64(lv, inst))
			return take(linears, a, factor, depth, out);
		break;
	case LLVMAdd:
	case LLVMSub:
		if (!is_i64(lv, inst))
			break;
		return take(linears, a, factor, depth, out) &&
		       take(linears, LLVMGetOperand(inst, 1),
			    LLVMGetInstructionOpcode(inst) == LLVMSub ? -factor : factor, depth,
			    out);
	case LLVMMul:
	case LLVMShl:
		if (is_i64(lv, inst) && LLVMIsAConstantInt(LLVMGetOperand(inst, 1)))
			return take_shifted(linears, inst, factor, depth, out);
		break;
	default:
		break;
	}
	return take_atom(linears, inst, factor, out);
}

static bool take(struct lv_linears *linears, LLVMValueRef value, uint64_t factor,
		 unsigned int depth, struct lv_linear *out)
{
	if (!depth || !LLVMIsAInstruction(value))
		return take_atom(linears, value, factor, out);
	return take_instruction(linears, value, factor, depth - 1, out);
}

bool lv_linear(struct lv_linears *linears, LLVMValueRef pointer, struct lv_linear *ret)
{
	*ret = (struct lv_linear){};
	return take(linears, pointer, 1, MAX_DEPTH, ret);
}

bool lv_same_sum(const struct lv_sum *a, const struct lv_sum *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned int i = 0; i < a->count; i++) {
		if (a->v[i].value != b->v[i].value || a->v[i].factor != b->v[i].factor)
			return false;
	}
	return true;
}

// --- putting together ---

// What held for the value where it stood may not hold where it goes.
static void drop_promises(LLVMValueRef inst)
{
	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMAdd:
	case LLVMSub:
	case LLVMMul:
	case LLVMShl:
	case LLVMTrunc:
		LLVMSetNUW(inst, false);
		LLVMSetNSW(inst, false);
		break;
	case LLVMLShr:
	case LLVMAShr:
		LLVMSetExact(inst, false);
		break;
	case LLVMOr:
		LLVMSetIsDisjoint(inst, false);
		break;
	case LLVMZExt:
		LLVMSetNNeg(inst, false);
		break;
	default:
		break;
	}
}

// A settled value at the start of the function, where it can be used everywhere.
static LLVMValueRef at_entry(struct lv_linears *linears, LLVMValueRef value)
{
	if (!LLVMIsAInstruction(value))
		return value;

	struct lv_ptrmap_entry *known = lv_ptrmap_find(&linears->values, value);

	if (known && known->first)
		return known->first;

	LLVMValueRef copy = LLVMInstructionClone(value);

	for (int i = 0; i < LLVMGetNumOperands(value) - !!LLVMIsACallInst(value); i++)
		LLVMSetOperand(copy, i, at_entry(linears, LLVMGetOperand(value, i)));
	drop_promises(copy);

	LLVMBuilderRef builder = LLVMCreateBuilderInContext(linears->lv->llvm);

	LLVMPositionBuilderBefore(builder, linears->start);
	LLVMInsertIntoBuilder(builder, copy);
	LLVMDisposeBuilder(builder);
	lv_ptrmap_add(&linears->values, value)->first = copy;
	return copy;
}

static LLVMValueRef add_up(struct lv *lv, LLVMValueRef sum, LLVMValueRef value, uint64_t factor)
{
	if (LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMPointerTypeKind)
		value = LLVMBuildPtrToInt(lv->builder, value, lv->i64, "");
	if (factor == UINT64_MAX && sum)
		return LLVMBuildSub(lv->builder, sum, value, "");
	if (factor != 1)
		value = LLVMBuildMul(lv->builder, value, lv_u64(lv, factor), "");
	return sum ? LLVMBuildAdd(lv->builder, sum, value, "") : value;
}

LLVMValueRef lv_linear_value(struct lv_linears *linears, const struct lv_linear *linear)
{
	struct lv *lv = linears->lv;
	LLVMValueRef sum = NULL;

	for (unsigned int i = 0; i < linear->moving.count; i++)
		sum = add_up(lv, sum, linear->moving.v[i].value, linear->moving.v[i].factor);
	for (unsigned int i = 0; i < linear->settled.count; i++)
		sum = add_up(lv, sum, at_entry(linears, linear->settled.v[i].value),
			     linear->settled.v[i].factor);
	if (!sum)
		return lv_u64(lv, linear->constant);
	if (!linear->constant)
		return sum;
	return LLVMBuildAdd(lv->builder, sum, lv_u64(lv, linear->constant), "");
}
