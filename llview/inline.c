// SPDX-License-Identifier: Apache-2.0
#include "ir.h"

// Each round inlines all direct calls; what it makes visible may turn indirect calls into direct
// ones.
enum { MAX_ROUNDS = 16 };

static bool is_detector(struct lv *lv, LLVMValueRef fn)
{
	for (size_t i = 0; i < lv->detectors.count; i++) {
		if (lv->detectors.v[i].function == fn)
			return true;
	}
	return false;
}

static void make_internal(struct lv *lv)
{
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		LLVMValueRef fn = functions.v[i];

		if (is_detector(lv, fn))
			continue;
		LLVMSetLinkage(fn, LLVMInternalLinkage);
		LLVMSetSection(fn, "");
		lv_attribute(lv, fn, "alwaysinline", 0);
	}
	for (LLVMValueRef g = LLVMGetFirstGlobal(lv->module); g; g = LLVMGetNextGlobal(g)) {
		if (!LLVMGetInitializer(g))
			continue;
		LLVMSetLinkage(g, LLVMInternalLinkage);
		LLVMSetSection(g, "");
	}
}

static bool calls_left(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		_cleanup_values_ struct lv_values list =
			lv_instructions(lv->detectors.v[d].function);

		for (size_t i = 0; i < list.count; i++) {
			if (!LLVMIsACallInst(list.v[i]))
				continue;

			LLVMValueRef callee = LLVMGetCalledValue(list.v[i]);

			if (!LLVMIsAFunction(callee) || !LLVMIsDeclaration(callee))
				return true;
		}
	}
	return false;
}

// The inliner adds them for the callee's variables; see clean.c.
static void drop_lifetimes(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		_cleanup_values_ struct lv_values list =
			lv_instructions(lv->detectors.v[d].function);

		for (size_t i = 0; i < list.count; i++) {
			if (lv_starts(lv_callee(list.v[i]), "llvm.lifetime."))
				LLVMInstructionEraseFromParent(list.v[i]);
		}
	}
}

struct gs_error *lv_inline(struct lv *lv)
{
	make_internal(lv);
	for (int round = 0; round < MAX_ROUNDS; round++) {
		struct gs_error *err =
			lv_run_passes(lv, "always-inline,function(sroa,instsimplify,simplifycfg)");

		if (err)
			return err;
		drop_lifetimes(lv);
		if (!calls_left(lv))
			break;
	}
	// globalopt finds which static tables are never written, so that their pointers can be
	// followed.
	return lv_run_passes(lv, "globaldce,globalopt,function(sroa)");
}
