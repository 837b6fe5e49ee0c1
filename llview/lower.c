// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include <gpusentinel/ctx.h>

#include "diag.h"
#include "ir.h"
#include "runtime.h"

// ctx->slots, loaded once at the start of the detector.
static LLVMValueRef slots_base(struct lv *lv, LLVMValueRef fn)
{
	unsigned int invariant = LLVMGetMDKindIDInContext(lv->llvm, "invariant.load", 14);
	LLVMValueRef empty = LLVMMetadataAsValue(lv->llvm, LLVMMDNodeInContext2(lv->llvm, NULL, 0));
	LLVMValueRef offset = lv_u64(lv, offsetof(struct gs_ctx, slots));

	LLVMPositionBuilderBefore(lv->builder, LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(fn)));
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);

	LLVMValueRef at = LLVMGetParam(fn, 0);

	at = LLVMBuildGEP2(lv->builder, lv->i8, at, &offset, 1, "");
	LLVMValueRef base = LLVMBuildLoad2(lv->builder, lv->ptr, at, "");

	LLVMSetMetadata(base, invariant, empty);
	return base;
}

static void lower_slot(struct lv *lv, LLVMValueRef base, LLVMValueRef call)
{
	unsigned int invariant = LLVMGetMDKindIDInContext(lv->llvm, "invariant.load", 14);
	LLVMValueRef empty = LLVMMetadataAsValue(lv->llvm, LLVMMDNodeInContext2(lv->llvm, NULL, 0));

	lv_before(lv, call);
	LLVMValueRef index = LLVMBuildZExt(lv->builder, LLVMGetOperand(call, 0), lv->i64, "");
	LLVMValueRef at = LLVMBuildGEP2(lv->builder, lv->i64, base, &index, 1, "");
	LLVMValueRef value = LLVMBuildLoad2(lv->builder, lv->i64, at, "");

	LLVMSetMetadata(value, invariant, empty);
	lv_replace(call, value);
}

static const struct {
	const char *name, *runtime;
	unsigned int bits;
} getters[] = {
	{ "now_ns", "now", 64 },
	{ "run_count", "run", 64 },
	{ "thread_index", "thread_index", 32 },
	{ "thread_count", "thread_count", 32 },
};

static bool lower_getter(struct lv *lv, LLVMValueRef fn, LLVMValueRef call)
{
	const char *callee = lv_callee(call);

	for (size_t i = 0; i < ARRAY_SIZE(getters); i++) {
		if (strcmp(callee, getters[i].name) != 0)
			continue;
		lv_before(lv, call);
		lv_replace(call, lv_rt(lv, fn, getters[i].runtime,
				       LLVMIntTypeInContext(lv->llvm, getters[i].bits), NULL, 0));
		return true;
	}
	return false;
}

// gs.stop(reason, site); unreachable -> gs_rt_stop(ctx, reason, site); return
static void lower_stop(struct lv *lv, LLVMValueRef fn, LLVMValueRef call)
{
	LLVMValueRef args[] = { LLVMGetOperand(call, 0), LLVMGetOperand(call, 1) };

	LLVMValueRef next = LLVMGetNextInstruction(call);

	lv_before(lv, call);
	lv_rt(lv, fn, "stop", lv->void_type, args, 2);
	LLVMInstructionEraseFromParent(call);
	if (LLVMIsAUnreachableInst(next))
		return; // becomes a return in its turn
	lv_split(lv, next);
	LLVMBuildRetVoid(lv->builder);
}

// Each either follows gs.stop or was made by LLVM out of something undefined: both must leave, not
// fall through.
static void lower_unreachable(struct lv *lv, LLVMValueRef fn, LLVMValueRef inst)
{
	LLVMValueRef previous = LLVMGetPreviousInstruction(inst);

	lv_before(lv, inst);
	if (!previous || strcmp(lv_callee(previous), "gs_rt_stop") != 0) {
		LLVMValueRef args[] = { lv_u32(lv, GS_STOP_TRAP), lv_u32(lv, lv_site(lv, inst)) };

		lv_rt(lv, fn, "stop", lv->void_type, args, 2);
	}
	LLVMBuildRetVoid(lv->builder);
	LLVMInstructionEraseFromParent(inst);
}

static void lower_function(struct lv *lv, LLVMValueRef fn)
{
	_cleanup_values_ struct lv_values list = lv_instructions(fn);
	LLVMValueRef base = slots_base(lv, fn);

	for (size_t i = 0; i < list.count; i++) {
		const char *callee = lv_callee(list.v[i]);

		if (strcmp(callee, "gs.slot") == 0)
			lower_slot(lv, base, list.v[i]);
		else if (strcmp(callee, "gs.stop") == 0)
			lower_stop(lv, fn, list.v[i]);
		else if (LLVMIsAUnreachableInst(list.v[i]))
			lower_unreachable(lv, fn, list.v[i]);
		else
			lower_getter(lv, fn, list.v[i]);
	}
	LLVMPositionBuilderBefore(lv->builder, LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(fn)));
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);
	lv_rt(lv, fn, "begin_run", lv->void_type, NULL, 0);
}

void lv_lower(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++)
		lower_function(lv, lv->detectors.v[d].function);
}
