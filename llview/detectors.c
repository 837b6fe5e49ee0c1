// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"

static const char run_prefix[] = "gs_run_";

// The text of a string constant as new memory, NULL for a null pointer.
static char *constant_string(LLVMValueRef pointer)
{
	size_t length;

	if (!pointer || !LLVMIsAGlobalVariable(pointer))
		return NULL;

	LLVMValueRef init = LLVMGetInitializer(pointer);

	if (!init || !LLVMIsConstantString(init))
		return NULL;

	const char *text = LLVMGetAsString(init, &length);

	return lv_format("%.*s", (int)length, text);
}

static uint64_t constant_number(LLVMValueRef init, unsigned int index)
{
	LLVMValueRef element = LLVMGetAggregateElement(init, index);

	return element && LLVMIsAConstantInt(element) ? LLVMConstIntGetZExtValue(element) : 0;
}

// gs_run_NAME(ctx) calls what the author wrote; after inlining it is what the author wrote, with a
// context.
static LLVMValueRef wrap(struct lv *lv, LLVMValueRef body, const char *name)
{
	_cleanup_free_ char *body_name = lv_format("body.%s", name);
	_cleanup_free_ char *run_name = lv_format("%s%s", run_prefix, name);
	LLVMTypeRef type = LLVMFunctionType(lv->void_type, &lv->ptr, 1, false);

	LLVMSetValueName2(body, body_name, strlen(body_name));
	LLVMSetSection(body, "");

	LLVMValueRef fn = LLVMAddFunction(lv->module, run_name, type);
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(lv->llvm, fn, "");

	lv_attribute(lv, fn, "nounwind", 0);
	lv_attribute(lv, fn, "null_pointer_is_valid", 0);
	LLVMAddTargetDependentFunctionAttr(fn, "no-builtins", "");
	LLVMPositionBuilderAtEnd(lv->builder, entry);
	LLVMSetCurrentDebugLocation2(lv->builder, NULL);
	LLVMBuildCall2(lv->builder, LLVMGlobalGetValueType(body), body, NULL, 0, "");
	LLVMBuildRetVoid(lv->builder);
	return fn;
}

static void add_detector(struct lv *lv, LLVMValueRef body, LLVMValueRef def, const char *name)
{
	_cleanup_place_ struct lv_place place = lv_place_of_global(lv, body);
	LLVMValueRef init = LLVMGetInitializer(def);
	_cleanup_free_ char *description = constant_string(LLVMGetAggregateElement(init, 1));
	_cleanup_free_ char *function = lv_format("%s%s", run_prefix, name);

	if (LLVMCountParams(body) || LLVMIsDeclaration(body)) {
		lv_error_at(lv, &place, "detector %s has no body", name);
		return;
	}

	struct lv_detector detector = {
		.fat = {
			.name = lv_string(lv, name),
			.function = lv_string(lv, function),
			.description = lv_string(lv, description ? description : ""),
			.period_ms = constant_number(init, 2),
			.budget = constant_number(init, 3),
			.output = constant_number(init, 4),
			.site = lv_site_at(lv, &place),
		},
		.function = wrap(lv, body, name),
	};

	// As gs_detector_def documents it.
	if (!detector.fat.period_ms)
		detector.fat.period_ms = 1000;
	lv_push(lv->detectors, detector);
}

static void delete_global(struct lv *lv, const char *name)
{
	LLVMValueRef global = LLVMGetNamedGlobal(lv->module, name);

	if (global)
		LLVMDeleteGlobal(global);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void lv_detectors(struct lv *lv)
{
	LV_TABLE(char *) names = {};

	for (LLVMValueRef g = LLVMGetFirstGlobal(lv->module); g; g = LLVMGetNextGlobal(g)) {
		const char *section = LLVMGetSection(g);

		if (!section || strcmp(section, ".gs.detectors") != 0 || !LLVMGetInitializer(g))
			continue;

		char *name = constant_string(LLVMGetAggregateElement(LLVMGetInitializer(g), 0));

		if (name)
			lv_push(names, name);
	}
	if (names.count)
		qsort(names.v, names.count, sizeof(*names.v), by_name);

	// What clang keeps alive with these is kept alive by the manifest.
	delete_global(lv, "llvm.used");
	delete_global(lv, "llvm.compiler.used");

	for (size_t i = 0; i < names.count; i++) {
		_cleanup_free_ char *def_name = lv_format("gs_def_%s", names.v[i]);
		_cleanup_free_ char *run_name = lv_format("%s%s", run_prefix, names.v[i]);
		LLVMValueRef def = LLVMGetNamedGlobal(lv->module, def_name);
		LLVMValueRef body = LLVMGetNamedFunction(lv->module, run_name);

		if (def && body)
			add_detector(lv, body, def, names.v[i]);
		if (def)
			LLVMDeleteGlobal(def);
		free(names.v[i]);
	}
	free(names.v);

	if (!lv->detectors.count && !lv->errors) {
		struct lv_place place = { .file = lv->options->sources[0] };

		lv_error_at(lv, &place, "no DETECTOR() in %s",
			    lv->options->source_count > 1 ? "these files" : "this file");
	}
}
