// SPDX-License-Identifier: Apache-2.0
// What is called from outside: gs_run_NAME on both machines, and gs_loop_NAME, by which a detector runs by
// itself on a GPU.
//
// A kernel's threads each make a context of their own from the one that they are given. A kernel cannot call
// a kernel, and both run the same: a function of its own, which is not inlined into them, as the driver compiles
// the code when it loads the detector.
#include <string.h>

#include <gpusentinel/control.h>

#include "ir.h"

static const char run_prefix[] = "gs_run_";

static LLVMValueRef call(struct lv *lv, LLVMModuleRef module, const char *name, LLVMTypeRef ret,
			 LLVMValueRef *args, unsigned int count)
{
	LLVMTypeRef types[] = { lv->ptr, lv->ptr, lv->ptr };
	LLVMTypeRef type = LLVMFunctionType(ret, types, count, false);
	LLVMValueRef fn = LLVMGetNamedFunction(module, name);

	if (!fn)
		fn = LLVMAddFunction(module, name, type);
	return LLVMBuildCall2(lv->builder, type, fn, args, count, "");
}

// What the author wrote becomes gs_body_NAME.
static LLVMValueRef rename_body(struct lv *lv, LLVMValueRef run, bool gpu)
{
	size_t length;
	const char *name = LLVMGetValueName2(run, &length) + strlen(run_prefix);
	_cleanup_free_ char *body_name = lv_format("gs_body_%s", name);

	LLVMSetValueName2(run, body_name, strlen(body_name));
	// LLVM drew its conclusions before the runtime's calls were in it.
	lv_clean_attributes(run);
	if (gpu)
		lv_attribute(lv, run, "noinline", 0);
	return run;
}

// The builder stands at the start of the function.
static LLVMValueRef add_function(struct lv *lv, LLVMModuleRef module, const char *prefix,
				 LLVMValueRef body, unsigned int params)
{
	size_t length;
	const char *name = LLVMGetValueName2(body, &length) + strlen("gs_body_");
	_cleanup_free_ char *full = lv_format("%s%s", prefix, name);
	LLVMTypeRef types[] = { lv->ptr, lv->ptr };
	LLVMValueRef fn = LLVMAddFunction(module, full,
					  LLVMFunctionType(lv->void_type, types, params, false));

	lv_attribute(lv, fn, "nounwind", 0);
	LLVMPositionBuilderAtEnd(lv->builder, LLVMAppendBasicBlockInContext(lv->llvm, fn, ""));
	return fn;
}

static LLVMValueRef add_context(struct lv *lv)
{
	LLVMTypeRef type = LLVMArrayType2(lv->i64, (sizeof(struct gs_ctx) + 7) / 8);

	return LLVMBuildAlloca(lv->builder, type, "ctx");
}

// The two calls around the body's.
static void add_run(struct lv *lv, LLVMModuleRef module, LLVMValueRef body, bool gpu)
{
	LLVMValueRef fn = add_function(lv, module, run_prefix, body, 1);
	LLVMValueRef ctx = gpu ? add_context(lv) : LLVMGetParam(fn, 0);
	LLVMValueRef args[] = { ctx, LLVMGetParam(fn, 0) };

	if (!gpu)
		LLVMAddTargetDependentFunctionAttr(fn, "no-builtins", "");
	call(lv, module, gpu ? "gs_rt_enter" : "gs_rt_begin_run", lv->void_type, args, gpu ? 2 : 1);
	LLVMBuildCall2(lv->builder, LLVMGlobalGetValueType(body), body, &ctx, 1, "");
	call(lv, module, gpu ? "gs_rt_leave" : "gs_rt_end_run", lv->void_type, args, 1);
	LLVMBuildRetVoid(lv->builder);
}

static void add_loop(struct lv *lv, LLVMModuleRef module, LLVMValueRef body)
{
	LLVMValueRef loop = add_function(lv, module, "gs_loop_", body, 2);
	LLVMValueRef ctx = add_context(lv);
	LLVMValueRef begin[] = { ctx, LLVMGetParam(loop, 0), LLVMGetParam(loop, 1) };
	LLVMValueRef end[] = { ctx, LLVMGetParam(loop, 1) };
	LLVMBasicBlockRef wait = LLVMAppendBasicBlockInContext(lv->llvm, loop, "wait");
	LLVMBasicBlockRef once = LLVMAppendBasicBlockInContext(lv->llvm, loop, "once");
	LLVMBasicBlockRef ended = LLVMAppendBasicBlockInContext(lv->llvm, loop, "ended");
	LLVMBasicBlockRef stopped = LLVMAppendBasicBlockInContext(lv->llvm, loop, "stopped");

	LLVMBuildBr(lv->builder, wait);

	LLVMPositionBuilderAtEnd(lv->builder, wait);

	LLVMValueRef go = call(lv, module, "gs_rt_loop_begin", lv->i32, begin, 3);

	LLVMValueRef what = LLVMBuildSwitch(lv->builder, go, ended, 2);

	LLVMAddCase(what, lv_u32(lv, GS_LOOP_RETURN), stopped);
	LLVMAddCase(what, lv_u32(lv, GS_LOOP_RUN), once);

	LLVMPositionBuilderAtEnd(lv->builder, once);
	LLVMBuildCall2(lv->builder, LLVMGlobalGetValueType(body), body, &ctx, 1, "");
	LLVMBuildBr(lv->builder, ended);

	LLVMPositionBuilderAtEnd(lv->builder, ended);
	call(lv, module, "gs_rt_loop_end", lv->void_type, end, 2);
	LLVMBuildBr(lv->builder, wait);

	LLVMPositionBuilderAtEnd(lv->builder, stopped);
	LLVMBuildRetVoid(lv->builder);
}

void lv_entries(struct lv *lv, LLVMModuleRef module, bool gpu)
{
	struct lv_values runs = {};

	// The list first: entries are added on the way.
	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		size_t length;

		if (LLVMIsDeclaration(fn) || !lv_starts(LLVMGetValueName2(fn, &length), run_prefix))
			continue;
		if (!gs_array_push(runs.v, runs.count, runs.capacity, fn))
			lv_enomem();
	}
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);
	for (size_t i = 0; i < runs.count; i++) {
		LLVMValueRef body = rename_body(lv, runs.v[i], gpu);

		add_run(lv, module, body, gpu);
		if (gpu)
			add_loop(lv, module, body);
	}
	lv_cleanup_values(&runs);
}
