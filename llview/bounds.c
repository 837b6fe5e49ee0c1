// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "access.h"
#include "diag.h"
#include "ir.h"

// The first of two times that bounds are checked: here, before optimisation, an index that leaves
// its array stops the detector whatever LLVM would conclude from it, and messages still fit the
// source.

static void refuse_store(struct lv *lv, LLVMValueRef inst, enum lv_origin origin, const char *what)
{
	if (origin == LV_ORIGIN_KERNEL)
		lv_error(
			lv, inst,
			"%s to kernel memory: a detector only reads; copy into a variable of its own",
			what);
	else
		lv_error(
			lv, inst,
			"%s through a pointer that may lead into kernel memory: a detector writes to "
			"its own variables only",
			what);
}

static void check_write(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst,
			LLVMValueRef pointer, LLVMValueRef bytes, const char *what)
{
	enum lv_origin origin = lv_origin(prov, pointer);
	LLVMValueRef object = lv_object(prov, pointer);

	if (origin != LV_ORIGIN_LOCAL)
		refuse_store(lv, inst, origin, what);
	else if (object && LLVMIsAGlobalVariable(object) && LLVMIsGlobalConstant(object))
		lv_error(lv, inst, "%s to a constant", what);
	else
		lv_check(prov, lv, inst, pointer, bytes, LV_CHECK_INLINED);
}

// A pointer to a local variable that goes through memory comes back as a number: nothing tells it
// from an address that the kernel's memory holds.
static void refuse_escape(struct lv_provenance *prov, struct lv *lv, LLVMValueRef store)
{
	LLVMValueRef value = LLVMGetOperand(store, 0);

	if (LLVMGetTypeKind(LLVMTypeOf(value)) != LLVMPointerTypeKind ||
	    !(lv_origin(prov, value) & LV_ORIGIN_LOCAL))
		return;
	lv_error(
		lv, store,
		"the address of a local variable is kept in memory, where it cannot be followed: keep "
		"an index instead");
}

static void check_transfer(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst)
{
	LLVMValueRef source = LLVMGetOperand(inst, 1);
	LLVMValueRef bytes = LLVMGetOperand(inst, 2);

	lv_before(lv, inst);
	bytes = LLVMBuildIntCast2(lv->builder, bytes, lv->i64, false, "");
	check_write(prov, lv, inst, LLVMGetOperand(inst, 0), bytes, "copy");
	if (lv_origin(prov, source) == LV_ORIGIN_LOCAL)
		lv_check(prov, lv, inst, source, bytes, LV_CHECK_INLINED);
}

static void check_set(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst)
{
	lv_before(lv, inst);
	LLVMValueRef bytes =
		LLVMBuildIntCast2(lv->builder, LLVMGetOperand(inst, 2), lv->i64, false, "");

	check_write(prov, lv, inst, LLVMGetOperand(inst, 0), bytes, "memset");
}

// Atomic operations are for what threads share, hence not for the stack, and GPUs want them
// aligned.
static void check_atomic(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst)
{
	LLVMValueRef pointer = LLVMGetOperand(inst, LLVMIsAStoreInst(inst) ? 1 : 0);
	LLVMValueRef value =
		LLVMIsALoadInst(inst) ? inst : LLVMGetOperand(inst, LLVMIsAStoreInst(inst) ? 0 : 1);
	uint64_t size = lv_size(lv, LLVMTypeOf(value));
	LLVMValueRef object = lv_object(prov, pointer);

	if (!LLVMIsALoadInst(inst))
		check_write(prov, lv, inst, pointer, lv_u64(lv, size), "atomic operation");
	else if (lv_origin(prov, pointer) == LV_ORIGIN_LOCAL)
		lv_check(prov, lv, inst, pointer, lv_u64(lv, size), LV_CHECK_INLINED);
	else
		return; // loads of kernel memory are whole if they are aligned there
	if (lv_origin(prov, pointer) != LV_ORIGIN_LOCAL)
		return;
	if (!object || !LLVMIsAGlobalVariable(object)) {
		lv_error(lv, inst,
			 "atomic operation on the stack: only static variables are shared");
		return;
	}
	if (LLVMGetAlignment(object) < size)
		LLVMSetAlignment(object, size);
	lv_check_aligned(prov, lv, inst, pointer, size);
}

static void check_instruction(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst)
{
	const char *callee = lv_callee(inst);
	LLVMTypeRef type;

	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMLoad:
		if (LLVMGetOrdering(inst) != LLVMAtomicOrderingNotAtomic) {
			check_atomic(prov, lv, inst);
			break;
		}
		type = LLVMTypeOf(inst);
		if (lv_origin(prov, LLVMGetOperand(inst, 0)) == LV_ORIGIN_LOCAL)
			lv_check(prov, lv, inst, LLVMGetOperand(inst, 0),
				 lv_u64(lv, lv_size(lv, type)), LV_CHECK_INLINED);
		break;
	case LLVMStore:
		type = LLVMTypeOf(LLVMGetOperand(inst, 0));
		refuse_escape(prov, lv, inst);
		if (LLVMGetOrdering(inst) != LLVMAtomicOrderingNotAtomic) {
			check_atomic(prov, lv, inst);
			break;
		}
		check_write(prov, lv, inst, LLVMGetOperand(inst, 1), lv_u64(lv, lv_size(lv, type)),
			    "store");
		break;
	case LLVMAtomicRMW:
	case LLVMAtomicCmpXchg:
		check_atomic(prov, lv, inst);
		break;
	case LLVMCall:
		if (lv_starts(callee, "llvm.memcpy.") || lv_starts(callee, "llvm.memmove."))
			check_transfer(prov, lv, inst);
		else if (lv_starts(callee, "llvm.memset."))
			check_set(prov, lv, inst);
		break;
	default:
		break;
	}
}

// A number that comes from a local address must not become a pointer again.
static bool from_local_address(struct lv_provenance *prov, LLVMValueRef value, unsigned int depth)
{
	bool expr = LLVMIsAConstantExpr(value);

	if (!depth || (!LLVMIsAInstruction(value) && !expr))
		return false;

	LLVMOpcode op = expr ? LLVMGetConstOpcode(value) : LLVMGetInstructionOpcode(value);

	if (op == LLVMPtrToInt)
		return lv_origin(prov, LLVMGetOperand(value, 0)) & LV_ORIGIN_LOCAL;
	if (op != LLVMAdd && op != LLVMSub && op != LLVMAnd && op != LLVMOr && op != LLVMXor &&
	    op != LLVMPHI && op != LLVMSelect && op != LLVMTrunc && op != LLVMZExt &&
	    op != LLVMSExt)
		return false;
	for (int i = 0; i < LLVMGetNumOperands(value); i++) {
		if (from_local_address(prov, LLVMGetOperand(value, i), depth - 1))
			return true;
	}
	return false;
}

// --- before inlining ---

static void guard(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst)
{
	LLVMValueRef pointer, value;

	if (LLVMIsALoadInst(inst)) {
		pointer = LLVMGetOperand(inst, 0);
		value = inst;
	} else if (LLVMIsAStoreInst(inst)) {
		pointer = LLVMGetOperand(inst, 1);
		value = LLVMGetOperand(inst, 0);
	} else {
		return;
	}
	if (lv_origin(prov, pointer) == LV_ORIGIN_LOCAL)
		lv_check(prov, lv, inst, pointer, lv_u64(lv, lv_size(lv, LLVMTypeOf(value))),
			 LV_CHECK_SOURCE);
}

void lv_guard(struct lv *lv)
{
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);
		struct lv_provenance *prov = lv_provenance_create(lv, functions.v[i]);

		for (size_t j = 0; j < list.count; j++)
			guard(prov, lv, list.v[j]);
		lv_provenance_destroy(prov);
	}
}

// What lv_guard() found to be outside and is not dead.
static void report_outside(struct lv *lv, LLVMValueRef call)
{
	uint64_t index = LLVMConstIntGetZExtValue(LLVMGetOperand(call, 0));

	lv_error(lv, call, "%s", lv->outside.v[index]);
	LLVMInstructionEraseFromParent(call);
}

void lv_bounds(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		LLVMValueRef fn = lv->detectors.v[d].function;
		_cleanup_values_ struct lv_values list = lv_instructions(fn);
		struct lv_provenance *prov = lv_provenance_create(lv, fn);

		for (size_t i = 0; i < list.count; i++) {
			if (strcmp(lv_callee(list.v[i]), "gs.outside") == 0) {
				report_outside(lv, list.v[i]);
				continue;
			}
			if (LLVMIsAIntToPtrInst(list.v[i]) &&
			    from_local_address(prov, LLVMGetOperand(list.v[i], 0), 8))
				lv_error(
					lv, list.v[i],
					"the address of a local variable becomes a number and then a "
					"pointer again, which cannot be followed");
			check_instruction(prov, lv, list.v[i]);
		}
		lv_provenance_destroy(prov);
	}
}
