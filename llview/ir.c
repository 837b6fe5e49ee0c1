// SPDX-License-Identifier: Apache-2.0
#include "ir.h"

#include <string.h>

#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

struct lv_values lv_instructions(LLVMValueRef fn)
{
	struct lv_values list = {};

	for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb;
	     bb = LLVMGetNextBasicBlock(bb)) {
		for (LLVMValueRef i = LLVMGetFirstInstruction(bb); i; i = LLVMGetNextInstruction(i))
			lv_push(list, i);
	}
	return list;
}

struct lv_values lv_functions(struct lv *lv)
{
	struct lv_values list = {};

	for (LLVMValueRef fn = LLVMGetFirstFunction(lv->module); fn; fn = LLVMGetNextFunction(fn)) {
		if (!LLVMIsDeclaration(fn))
			lv_push(list, fn);
	}
	return list;
}

struct lv_values lv_users(LLVMValueRef value)
{
	struct lv_values list = {};

	for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
		lv_push(list, LLVMGetUser(use));
	return list;
}

const char *lv_callee(LLVMValueRef inst)
{
	if (!LLVMIsACallInst(inst))
		return "";

	LLVMValueRef callee = LLVMGetCalledValue(inst);
	size_t length;

	return LLVMIsAFunction(callee) ? LLVMGetValueName2(callee, &length) : "";
}

bool lv_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

char *lv_constant_text(LLVMValueRef pointer)
{
	if (!LLVMIsAGlobalVariable(pointer) || !LLVMIsGlobalConstant(pointer))
		return NULL;

	LLVMValueRef init = LLVMGetInitializer(pointer);
	size_t length;

	if (!init)
		return NULL;
	if (LLVMIsNull(init))
		return lv_format("%s", "");
	if (!LLVMIsConstantString(init))
		return NULL;

	const char *text = LLVMGetAsString(init, &length);

	return lv_format("%.*s", (int)length, text);
}

uint64_t lv_size(struct lv *lv, LLVMTypeRef type)
{
	return LLVMStoreSizeOfType(LLVMGetModuleDataLayout(lv->module), type);
}

LLVMValueRef lv_declare(struct lv *lv, const char *name, LLVMTypeRef type)
{
	LLVMValueRef fn = LLVMGetNamedFunction(lv->module, name);

	return fn ? fn : LLVMAddFunction(lv->module, name, type);
}

void lv_attribute(struct lv *lv, LLVMValueRef fn, const char *name, uint64_t value)
{
	unsigned int kind = LLVMGetEnumAttributeKindForName(name, strlen(name));

	LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
				LLVMCreateEnumAttribute(lv->llvm, kind, value));
}

LLVMValueRef lv_call(struct lv *lv, const char *name, LLVMTypeRef ret, LLVMValueRef *args,
		     unsigned int count)
{
	LLVMTypeRef types[8];

	for (unsigned int i = 0; i < count; i++)
		types[i] = LLVMTypeOf(args[i]);

	LLVMTypeRef type = LLVMFunctionType(ret, types, count, false);

	return LLVMBuildCall2(lv->builder, type, lv_declare(lv, name, type), args, count, "");
}

LLVMValueRef lv_u64(struct lv *lv, uint64_t value)
{
	return LLVMConstInt(lv->i64, value, false);
}

LLVMValueRef lv_u32(struct lv *lv, uint32_t value)
{
	return LLVMConstInt(lv->i32, value, false);
}

void lv_before(struct lv *lv, LLVMValueRef inst)
{
	LLVMPositionBuilderBefore(lv->builder, inst);
	LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(inst));
}

void lv_behind(struct lv *lv, LLVMValueRef inst)
{
	LLVMMetadataRef loc = LLVMInstructionGetDebugLoc(inst);
	LLVMValueRef next = LLVMGetNextInstruction(inst);

	while (LLVMIsAPHINode(inst) && LLVMIsAPHINode(next))
		next = LLVMGetNextInstruction(next);
	LLVMPositionBuilderBefore(lv->builder, next);
	LLVMSetCurrentDebugLocation2(lv->builder, loc);
}

void lv_replace(LLVMValueRef inst, LLVMValueRef value)
{
	LLVMReplaceAllUsesWith(inst, value);
	LLVMInstructionEraseFromParent(inst);
}

LLVMBasicBlockRef lv_split(struct lv *lv, LLVMValueRef inst)
{
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);
	LLVMBasicBlockRef head = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");
	_cleanup_values_ struct lv_values users = lv_users(LLVMBasicBlockAsValue(tail));
	LLVMValueRef next;

	for (size_t i = 0; i < users.count; i++) {
		if (!LLVMIsATerminatorInst(users.v[i]))
			continue;
		for (unsigned int s = 0; s < LLVMGetNumSuccessors(users.v[i]); s++) {
			if (LLVMGetSuccessor(users.v[i], s) == tail)
				LLVMSetSuccessor(users.v[i], s, head);
		}
	}

	LLVMPositionBuilderAtEnd(lv->builder, head);
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);
	for (LLVMValueRef i = LLVMGetFirstInstruction(tail); i != inst; i = next) {
		size_t length;
		_cleanup_free_ char *name = lv_format("%s", LLVMGetValueName2(i, &length));

		next = LLVMGetNextInstruction(i);
		LLVMInstructionRemoveFromParent(i);
		LLVMInsertIntoBuilderWithName(lv->builder, i, name);
	}
	LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(inst));
	return head;
}

static LLVMValueRef slot_value(struct lv *lv, const char *name, uint32_t index)
{
	LLVMValueRef arg = lv_u32(lv, index);
	bool fresh = !LLVMGetNamedFunction(lv->module, name);
	LLVMValueRef call = lv_call(lv, name, lv->i64, &arg, 1);

	if (fresh) {
		LLVMValueRef fn = LLVMGetCalledValue(call);

		// A slot does not change in a run, and that of a parameter need not seem to: LLVM may move
		// and merge these calls freely.
		lv_attribute(lv, fn, "memory", 0);
		lv_attribute(lv, fn, "nounwind", 0);
		lv_attribute(lv, fn, "willreturn", 0);
		lv_attribute(lv, fn, "speculatable", 0);
	}
	return call;
}

LLVMValueRef lv_slot_value(struct lv *lv, uint32_t index)
{
	return slot_value(lv, "gs.slot", index);
}

LLVMValueRef lv_param_value(struct lv *lv, uint32_t index)
{
	return slot_value(lv, "gs.param", index);
}

void lv_stop(struct lv *lv, enum gs_stop reason, uint32_t site)
{
	LLVMValueRef args[] = { lv_u32(lv, reason), lv_u32(lv, site) };
	bool fresh = !LLVMGetNamedFunction(lv->module, "gs.stop");
	LLVMValueRef call = lv_call(lv, "gs.stop", lv->void_type, args, 2);

	if (fresh) {
		LLVMValueRef fn = LLVMGetCalledValue(call);

		lv_attribute(lv, fn, "nounwind", 0);
		lv_attribute(lv, fn, "noreturn", 0);
		lv_attribute(lv, fn, "cold", 0);
	}
	LLVMBuildUnreachable(lv->builder);
}

struct gs_error *lv_run_passes(struct lv *lv, const char *passes)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();

	// Vectorised loads of kernel memory would have to be taken apart again.
	LLVMPassBuilderOptionsSetLoopVectorization(options, false);
	LLVMPassBuilderOptionsSetSLPVectorization(options, false);
	LLVMPassBuilderOptionsSetLoopInterleaving(options, false);

	LLVMErrorRef err = LLVMRunPasses(lv->module, passes, NULL, options);

	LLVMDisposePassBuilderOptions(options);
	if (!err)
		return NULL;

	char *message = LLVMGetErrorMessage(err);
	struct gs_error *ret =
		gs_error_create(GS_ERROR_OTHER, "LLVM passes %s: %s", passes, message);

	LLVMDisposeErrorMessage(message);
	return ret;
}

struct gs_error *lv_keep(struct lv *lv, LLVMModuleRef module, const char *stage)
{
	if (!lv->options->keep_ir)
		return NULL;

	_cleanup_free_ char *path = lv_format("%s/%s.ll", lv->options->keep_ir, stage);
	char *message = NULL;

	if (!LLVMPrintModuleToFile(module, path, &message))
		return NULL;

	struct gs_error *err = gs_error_create(GS_ERROR_OTHER, "%s: %s", path, message);

	LLVMDisposeMessage(message);
	return err;
}
