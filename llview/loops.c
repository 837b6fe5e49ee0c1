// SPDX-License-Identifier: Apache-2.0
// On a GPU a detector also runs by itself: gs_loop_NAME(ctx, control) in the PTX.
#include <string.h>

#include "ir.h"

// A kernel cannot call a kernel: what both entries run becomes a function of its own. It is not
// inlined into both, as the driver compiles it when it loads the detector.
static LLVMValueRef split_entry(struct lv *lv, LLVMModuleRef module, LLVMValueRef run)
{
	size_t length;
	_cleanup_free_ char *name = lv_format("%s", LLVMGetValueName2(run, &length));
	_cleanup_free_ char *body_name = lv_format("gs_body_%s", name + strlen("gs_run_"));
	LLVMTypeRef type = LLVMGlobalGetValueType(run);

	LLVMSetValueName2(run, body_name, strlen(body_name));
	lv_attribute(lv, run, "noinline", 0);

	LLVMValueRef entry = LLVMAddFunction(module, name, type);
	LLVMValueRef ctx = LLVMGetParam(entry, 0);

	LLVMPositionBuilderAtEnd(lv->builder, LLVMAppendBasicBlockInContext(lv->llvm, entry, ""));
	LLVMBuildCall2(lv->builder, type, run, &ctx, 1, "");
	LLVMBuildRetVoid(lv->builder);
	return run;
}

static LLVMValueRef declare(LLVMModuleRef module, const char *name, LLVMTypeRef type)
{
	LLVMValueRef fn = LLVMGetNamedFunction(module, name);

	return fn ? fn : LLVMAddFunction(module, name, type);
}

static void add_loop(struct lv *lv, LLVMModuleRef module, LLVMValueRef run)
{
	size_t length;
	const char *name = LLVMGetValueName2(run, &length);
	_cleanup_free_ char *loop_name = lv_format("gs_loop_%s", name + strlen("gs_run_"));
	LLVMTypeRef params[] = { lv->ptr, lv->ptr };
	LLVMTypeRef void_type = LLVMFunctionType(lv->void_type, params, 2, false);
	LLVMTypeRef begin_type = LLVMFunctionType(lv->i32, params, 2, false);
	LLVMValueRef begin = declare(module, "gs_rt_loop_begin", begin_type);
	LLVMValueRef end = declare(module, "gs_rt_loop_end", void_type);
	LLVMValueRef body = split_entry(lv, module, run);
	LLVMValueRef loop = LLVMAddFunction(module, loop_name, void_type);
	LLVMValueRef args[] = { LLVMGetParam(loop, 0), LLVMGetParam(loop, 1) };
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(lv->llvm, loop, "");
	LLVMBasicBlockRef wait = LLVMAppendBasicBlockInContext(lv->llvm, loop, "wait");
	LLVMBasicBlockRef once = LLVMAppendBasicBlockInContext(lv->llvm, loop, "once");
	LLVMBasicBlockRef stopped = LLVMAppendBasicBlockInContext(lv->llvm, loop, "stopped");

	LLVMPositionBuilderAtEnd(lv->builder, entry);
	LLVMBuildBr(lv->builder, wait);

	LLVMPositionBuilderAtEnd(lv->builder, wait);

	LLVMValueRef go = LLVMBuildCall2(lv->builder, begin_type, begin, args, 2, "");

	go = LLVMBuildICmp(lv->builder, LLVMIntNE, go, lv_u32(lv, 0), "");
	LLVMBuildCondBr(lv->builder, go, once, stopped);

	LLVMPositionBuilderAtEnd(lv->builder, once);
	LLVMBuildCall2(lv->builder, LLVMGlobalGetValueType(body), body, args, 1, "");
	LLVMBuildCall2(lv->builder, void_type, end, args, 2, "");
	LLVMBuildBr(lv->builder, wait);

	LLVMPositionBuilderAtEnd(lv->builder, stopped);
	LLVMBuildRetVoid(lv->builder);
}

void lv_loops(struct lv *lv, LLVMModuleRef module)
{
	struct lv_values runs = {};

	// The list first: entries are added on the way.
	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		size_t length;

		if (LLVMIsDeclaration(fn) || !lv_starts(LLVMGetValueName2(fn, &length), "gs_run_"))
			continue;
		if (!gs_array_push(runs.v, runs.count, runs.capacity, fn))
			lv_enomem();
	}
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);
	for (size_t i = 0; i < runs.count; i++)
		add_loop(lv, module, runs.v[i]);
	lv_cleanup_values(&runs);
}
