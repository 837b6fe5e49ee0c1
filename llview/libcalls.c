// SPDX-License-Identifier: Apache-2.0
#include <llvm-c/Core.h>

#include "emit.h"
#include "ir.h"

struct mem_function {
	struct lv *lv;
	LLVMBuilderRef b;
	LLVMValueRef fn;
};

static struct mem_function begin(struct lv *lv, LLVMModuleRef module, const char *name,
				 LLVMTypeRef second)
{
	LLVMTypeRef params[] = { lv->ptr, second, lv->i64 };
	struct mem_function f = {
		.lv = lv,
		.b = LLVMCreateBuilderInContext(lv->llvm),
		.fn = LLVMAddFunction(module, name, LLVMFunctionType(lv->ptr, params, 3, false)),
	};

	LLVMSetVisibility(f.fn, LLVMHiddenVisibility);
	lv_attribute(lv, f.fn, "nounwind", 0);
	lv_attribute(lv, f.fn, "noinline", 0);
	// Else LLVM would recognise the loop and call the function from within itself.
	LLVMAddTargetDependentFunctionAttr(f.fn, "no-builtins", "");
	LLVMPositionBuilderAtEnd(f.b, LLVMAppendBasicBlockInContext(lv->llvm, f.fn, ""));
	return f;
}

// A loop over bytes 0 .. n-1, from the end if `backwards`; source NULL: store `value`. Returns the
// block behind it.
static void byte_loop(struct mem_function *f, LLVMValueRef source, LLVMValueRef value,
		      bool backwards)
{
	struct lv *lv = f->lv;
	LLVMValueRef n = LLVMGetParam(f->fn, 2);
	LLVMBasicBlockRef before = LLVMGetInsertBlock(f->b);
	LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(lv->llvm, f->fn, "");
	LLVMBasicBlockRef end = LLVMAppendBasicBlockInContext(lv->llvm, f->fn, "");
	LLVMValueRef zero = lv_u64(lv, 0);

	LLVMBuildCondBr(f->b, LLVMBuildICmp(f->b, LLVMIntEQ, n, zero, ""), end, body);

	LLVMPositionBuilderAtEnd(f->b, body);
	LLVMValueRef i = LLVMBuildPhi(f->b, lv->i64, "");
	LLVMValueRef next = LLVMBuildAdd(f->b, i, lv_u64(lv, 1), "");
	LLVMValueRef at = i;

	if (backwards)
		at = LLVMBuildSub(f->b, n, next, "");
	if (source)
		value = LLVMBuildLoad2(f->b, lv->i8,
				       LLVMBuildGEP2(f->b, lv->i8, source, &at, 1, ""), "");
	LLVMBuildStore(f->b, value,
		       LLVMBuildGEP2(f->b, lv->i8, LLVMGetParam(f->fn, 0), &at, 1, ""));
	LLVMBuildCondBr(f->b, LLVMBuildICmp(f->b, LLVMIntEQ, next, n, ""), end, body);
	LLVMAddIncoming(i, (LLVMValueRef[]){ zero, next }, (LLVMBasicBlockRef[]){ before, body },
			2);

	LLVMPositionBuilderAtEnd(f->b, end);
	LLVMBuildRet(f->b, LLVMGetParam(f->fn, 0));
}

void lv_libcalls(struct lv *lv, LLVMModuleRef module)
{
	struct mem_function copy = begin(lv, module, "memcpy", lv->ptr);

	byte_loop(&copy, LLVMGetParam(copy.fn, 1), NULL, false);
	LLVMDisposeBuilder(copy.b);

	struct mem_function set = begin(lv, module, "memset", lv->i32);

	byte_loop(&set, NULL, LLVMBuildTrunc(set.b, LLVMGetParam(set.fn, 1), lv->i8, ""), false);
	LLVMDisposeBuilder(set.b);

	struct mem_function move = begin(lv, module, "memmove", lv->ptr);
	LLVMBasicBlockRef up = LLVMAppendBasicBlockInContext(lv->llvm, move.fn, "");
	LLVMBasicBlockRef down = LLVMAppendBasicBlockInContext(lv->llvm, move.fn, "");
	LLVMValueRef below = LLVMBuildICmp(move.b, LLVMIntULT, LLVMGetParam(move.fn, 0),
					   LLVMGetParam(move.fn, 1), "");

	LLVMBuildCondBr(move.b, below, up, down);
	LLVMPositionBuilderAtEnd(move.b, up);
	byte_loop(&move, LLVMGetParam(move.fn, 1), NULL, false);
	LLVMPositionBuilderAtEnd(move.b, down);
	byte_loop(&move, LLVMGetParam(move.fn, 1), NULL, true);
	LLVMDisposeBuilder(move.b);
}
