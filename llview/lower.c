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

// A parameter changes while the detector runs by itself: each run loads it, from memory that the engine writes. On a
// GPU, LLVM makes ld.volatile of it, which is relaxed and of system scope (PTX ISA 8.5, 9.7.9.8).
static void lower_slot(struct lv *lv, LLVMValueRef base, LLVMValueRef call, bool param)
{
	unsigned int invariant = LLVMGetMDKindIDInContext(lv->llvm, "invariant.load", 14);
	LLVMValueRef empty = LLVMMetadataAsValue(lv->llvm, LLVMMDNodeInContext2(lv->llvm, NULL, 0));

	lv_before(lv, call);
	LLVMValueRef index = LLVMBuildZExt(lv->builder, LLVMGetOperand(call, 0), lv->i64, "");
	LLVMValueRef at = LLVMBuildGEP2(lv->builder, lv->i64, base, &index, 1, "");
	LLVMValueRef value = LLVMBuildLoad2(lv->builder, lv->i64, at, "");

	if (param)
		LLVMSetVolatile(value, true);
	else
		LLVMSetMetadata(value, invariant, empty);
	lv_replace(call, value);
}

static const struct {
	const char *name, *runtime;
} builtins[] = {
	{ "now_ns", "now" },
	{ "run_count", "run" },
	{ "thread_index", "thread_index" },
	{ "thread_count", "thread_count" },
	{ "block_index", "block_index" },
	{ "block_count", "block_count" },
	{ "block_thread_index", "block_thread_index" },
	{ "block_thread_count", "block_thread_count" },
	{ "block_barrier", "block_barrier" },
	{ "block_sum", "block_sum" },
	{ "block_min", "block_min" },
	{ "block_max", "block_max" },
	{ "block_any", "block_any" },
	{ "ram_pages", "ram_pages" },
	{ "ram_page", "ram_page" },
};

// What detector.h declares becomes a call of the runtime, which takes no bool: not all machines agree
// on how one is passed.
static void lower_builtin(struct lv *lv, LLVMValueRef fn, LLVMValueRef call, const char *runtime)
{
	LLVMTypeRef type = LLVMTypeOf(call), wide = type == lv->i1 ? lv->i32 : type;
	unsigned int count = LLVMGetNumArgOperands(call);
	LLVMValueRef args[1] = {};

	lv_before(lv, call);
	if (count > ARRAY_SIZE(args)) {
		lv_error(lv, call, "%s() is declared by gpusentinel/detector.h", lv_callee(call));
		return;
	}
	if (count) {
		args[0] = LLVMGetOperand(call, 0);
		if (LLVMTypeOf(args[0]) == lv->i1)
			args[0] = LLVMBuildZExt(lv->builder, args[0], lv->i32, "");
	}

	LLVMValueRef value = lv_rt(lv, fn, runtime, wide, args, count);

	if (wide != type)
		value = LLVMBuildTrunc(lv->builder, value, type, "");
	lv_replace(call, value);
}

static void lower_call(struct lv *lv, LLVMValueRef fn, LLVMValueRef call)
{
	const char *callee = lv_callee(call);

	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++) {
		if (strcmp(callee, builtins[i].name) == 0) {
			lower_builtin(lv, fn, call, builtins[i].runtime);
			return;
		}
	}
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
			lower_slot(lv, base, list.v[i], false);
		else if (strcmp(callee, "gs.param") == 0)
			lower_slot(lv, base, list.v[i], true);
		else if (strcmp(callee, "gs.stop") == 0)
			lower_stop(lv, fn, list.v[i]);
		else if (LLVMIsAUnreachableInst(list.v[i]))
			lower_unreachable(lv, fn, list.v[i]);
		else
			lower_call(lv, fn, list.v[i]);
	}
}

void lv_lower(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++)
		lower_function(lv, lv->detectors.v[d].function);
}
