// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"

static const char run_prefix[] = "gs_run_";

static uint64_t constant_number(LLVMValueRef init, unsigned int index)
{
	LLVMValueRef element = LLVMGetAggregateElement(init, index);

	return element && LLVMIsAConstantInt(element) ? LLVMConstIntGetZExtValue(element) : 0;
}

// As gs_detector_def documents it.
static uint32_t period_us(struct lv *lv, const struct lv_place *place, LLVMValueRef init)
{
	uint64_t ms = constant_number(init, 2), us = constant_number(init, 3);

	if (ms && us)
		lv_error_at(lv, place, "both period_ms and period_us are given; one is enough");
	if (ms > UINT32_MAX / 1000)
		lv_error_at(lv, place, "a period of %llu ms is too long: at most %u ms",
			    (unsigned long long)ms, UINT32_MAX / 1000);
	if (!ms && !us)
		ms = 1000;
	return (uint32_t)(us ? us : ms * 1000);
}

static uint32_t count_of(struct lv *lv, const struct lv_place *place, LLVMValueRef init,
			 unsigned int index, const char *what, uint32_t max)
{
	uint64_t count = constant_number(init, index);

	if (count > max)
		lv_error_at(lv, place, "%llu %s are too many: at most %u",
			    (unsigned long long)count, what, max);
	return count ? (uint32_t)count : 1;
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
	_cleanup_free_ char *description = lv_constant_text(LLVMGetAggregateElement(init, 1));
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
			.period_us = period_us(lv, &place, init),
			.threads = count_of(lv, &place, init, 4, "threads", GS_FAT_MAX_THREADS),
			.blocks = count_of(lv, &place, init, 5, "blocks", GS_FAT_MAX_BLOCKS),
			.budget = constant_number(init, 6),
			.output = constant_number(init, 7),
			.site = lv_site_at(lv, &place),
		},
		.function = wrap(lv, body, name),
	};

	// Part of a warp is as dear as all of it.
	if (detector.fat.threads > 1)
		detector.fat.threads =
			(detector.fat.threads + GS_FAT_WARP - 1) & ~(uint32_t)(GS_FAT_WARP - 1);
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

		char *name = lv_constant_text(LLVMGetAggregateElement(LLVMGetInitializer(g), 0));

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
