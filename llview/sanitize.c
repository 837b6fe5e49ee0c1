// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"

// Before optimisation, so that LLVM finds nothing undefined to draw conclusions from.

static LLVMValueRef int_constant(LLVMValueRef like, uint64_t value)
{
	return LLVMConstInt(LLVMTypeOf(like), value, false);
}

// BPF's rules (Documentation/bpf/standardization/instruction-set.rst): x / 0 is 0, x % 0 is x; and
// what overflows, INT_MIN / -1, wraps.
static void sanitize_division(struct lv *lv, LLVMValueRef inst, LLVMOpcode op)
{
	LLVMValueRef a = LLVMGetOperand(inst, 0);
	LLVMValueRef b = LLVMGetOperand(inst, 1);
	bool sign = op == LLVMSDiv || op == LLVMSRem;

	if (LLVMGetTypeKind(LLVMTypeOf(inst)) != LLVMIntegerTypeKind)
		return;

	bool constant = LLVMIsAConstantInt(b) && LLVMConstIntGetZExtValue(b) != 0 &&
			(!sign || LLVMConstIntGetSExtValue(b) != -1);

	if (constant)
		return;

	lv_before(lv, inst);
	LLVMValueRef zero = int_constant(a, 0);
	LLVMValueRef is_zero = LLVMBuildICmp(lv->builder, LLVMIntEQ, b, zero, "");
	LLVMValueRef divisor = LLVMBuildSelect(lv->builder, is_zero, int_constant(a, 1), b, "");
	LLVMValueRef minus = NULL;

	if (sign) {
		minus = LLVMBuildICmp(lv->builder, LLVMIntEQ, b, LLVMConstAllOnes(LLVMTypeOf(b)),
				      "");
		divisor = LLVMBuildSelect(lv->builder, minus, int_constant(a, 1), divisor, "");
	}

	LLVMValueRef result = LLVMBuildBinOp(lv->builder, op, a, divisor, "");

	if (op == LLVMSDiv)
		result = LLVMBuildSelect(lv->builder, minus, LLVMBuildNeg(lv->builder, a, ""),
					 result, "");
	result = LLVMBuildSelect(lv->builder, is_zero, op == LLVMSDiv || op == LLVMUDiv ? zero : a,
				 result, "");
	lv_replace(inst, result);
}

static void sanitize_shift(struct lv *lv, LLVMValueRef inst)
{
	LLVMValueRef amount = LLVMGetOperand(inst, 1);

	if (LLVMGetTypeKind(LLVMTypeOf(inst)) != LLVMIntegerTypeKind)
		return;

	unsigned int width = LLVMGetIntTypeWidth(LLVMTypeOf(inst));

	if (LLVMIsAConstantInt(amount) && LLVMConstIntGetZExtValue(amount) < width)
		return;
	// C has no integers whose width is not a power of two but for bit fields' temporaries,
	// which clang shifts by constants.
	if (width & (width - 1))
		return;
	lv_before(lv, inst);
	LLVMSetOperand(inst, 1,
		       LLVMBuildAnd(lv->builder, amount, int_constant(amount, width - 1), ""));
}

// A float that does not fit is poison to LLVM; saturating is what both machines do in hardware or
// cheaply.
static void sanitize_float(struct lv *lv, LLVMValueRef inst, bool sign)
{
	const char *name = sign ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
	LLVMValueRef operand = LLVMGetOperand(inst, 0);
	LLVMTypeRef types[] = { LLVMTypeOf(inst), LLVMTypeOf(operand) };
	unsigned int id = LLVMLookupIntrinsicID(name, strlen(name));

	lv_before(lv, inst);
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(lv->module, id, types, 2);

	lv_replace(inst, LLVMBuildCall2(lv->builder, LLVMIntrinsicGetType(lv->llvm, id, types, 2),
					fn, &operand, 1, ""));
}

// __builtin_clz(0) and the like: their last argument says that zero is undefined.
static void sanitize_call(struct lv *lv, LLVMValueRef inst)
{
	const char *name = lv_callee(inst);

	if (lv_starts(name, "llvm.ctlz.") || lv_starts(name, "llvm.cttz.") ||
	    lv_starts(name, "llvm.abs."))
		LLVMSetOperand(inst, 1, LLVMConstInt(lv->i1, 0, false));

	if (!lv_starts(name, "llvm.trap") && !lv_starts(name, "llvm.debugtrap") &&
	    !lv_starts(name, "llvm.ubsantrap"))
		return;

	uint32_t site = lv_site(lv, inst);

	// What follows stays, unreachable, for the optimiser to remove.
	lv_split(lv, inst);
	lv_stop(lv, GS_STOP_TRAP, site);
	LLVMInstructionEraseFromParent(inst);
}

static void sanitize_unreachable(struct lv *lv, LLVMValueRef inst)
{
	LLVMValueRef previous = LLVMGetPreviousInstruction(inst);

	if (previous && strcmp(lv_callee(previous), "gs.stop") == 0)
		return;

	uint32_t site = lv_site(lv, inst);

	lv_before(lv, inst);
	lv_stop(lv, GS_STOP_TRAP, site);
	LLVMInstructionEraseFromParent(inst);
}

// LLVM 19's PTX back end knows relaxed accesses and fences, but not the two in one.
static void sanitize_ordering(struct lv *lv, LLVMValueRef inst)
{
	LLVMAtomicOrdering ordering = LLVMGetOrdering(inst);

	if (ordering == LLVMAtomicOrderingNotAtomic || ordering == LLVMAtomicOrderingUnordered ||
	    ordering == LLVMAtomicOrderingMonotonic)
		return;
	LLVMSetOrdering(inst, LLVMAtomicOrderingMonotonic);
	if (LLVMIsALoadInst(inst))
		lv_behind(lv, inst);
	else
		lv_before(lv, inst);
	LLVMBuildFence(lv->builder, LLVMAtomicOrderingSequentiallyConsistent, false, "");
}

static void sanitize(struct lv *lv, LLVMValueRef inst)
{
	LLVMOpcode op = LLVMGetInstructionOpcode(inst);

	switch (op) {
	case LLVMUDiv:
	case LLVMSDiv:
	case LLVMURem:
	case LLVMSRem:
		sanitize_division(lv, inst, op);
		break;
	case LLVMShl:
	case LLVMLShr:
	case LLVMAShr:
		sanitize_shift(lv, inst);
		break;
	case LLVMFPToSI:
	case LLVMFPToUI:
		sanitize_float(lv, inst, op == LLVMFPToSI);
		break;
	case LLVMLoad:
	case LLVMStore:
		sanitize_ordering(lv, inst);
		break;
	case LLVMCall:
		sanitize_call(lv, inst);
		break;
	case LLVMUnreachable:
		sanitize_unreachable(lv, inst);
		break;
	default:
		break;
	}
}

void lv_sanitize(struct lv *lv)
{
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++)
			sanitize(lv, list.v[j]);
	}
}
