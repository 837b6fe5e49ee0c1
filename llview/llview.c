// SPDX-License-Identifier: Apache-2.0
#include "llview.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <llvm-c/Analysis.h>

#include "globals.h"
#include "ir.h"

void lv_enomem(void)
{
	fputs("llview: error: out of memory\n", stderr);
	exit(GS_ERROR_OTHER);
}

char *lv_format(const char *format, ...)
{
	char *text;
	va_list ap;

	va_start(ap, format);
	int length = vasprintf(&text, format, ap);
	va_end(ap);
	if (length < 0)
		lv_enomem();
	return text;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct gs_error *make_scratch(struct lv *lv)
{
	const char *tmp = getenv("TMPDIR");

	lv->scratch = lv_format("%s/llview-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
	if (mkdtemp(lv->scratch))
		return NULL;

	struct gs_error *err =
		gs_error_errno(GS_ERROR_OTHER, errno, "cannot make a directory in %s",
			       tmp && tmp[0] ? tmp : "/tmp");

	free(lv->scratch);
	lv->scratch = NULL;
	return err;
}

static void lv_deinit(struct lv *lv)
{
	if (lv->scratch)
		nftw(lv->scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(lv->scratch);
	for (size_t i = 0; i < lv->said.count; i++)
		free(lv->said.v[i]);
	free(lv->said.v);
	for (size_t i = 0; i < lv->outside.count; i++)
		free(lv->outside.v[i]);
	free(lv->outside.v);
	free(lv->detectors.v);
	free(lv->slots.v);
	free(lv->formats.v);
	free(lv->sites.v);
	free(lv->loads.v);
	free(lv->kernel_types.v);
	free(lv->strings.v);
	if (lv->module)
		LLVMDisposeModule(lv->module);
	if (lv->builder)
		LLVMDisposeBuilder(lv->builder);
	if (lv->llvm)
		LLVMContextDispose(lv->llvm);
}

static struct gs_error *lv_init(struct lv *lv)
{
	struct gs_error *err = make_scratch(lv);

	if (err)
		return err;
	lv->llvm = LLVMContextCreate();
	lv->builder = LLVMCreateBuilderInContext(lv->llvm);
	lv->void_type = LLVMVoidTypeInContext(lv->llvm);
	lv->i1 = LLVMInt1TypeInContext(lv->llvm);
	lv->i8 = LLVMInt8TypeInContext(lv->llvm);
	lv->i16 = LLVMInt16TypeInContext(lv->llvm);
	lv->i32 = LLVMInt32TypeInContext(lv->llvm);
	lv->i64 = LLVMInt64TypeInContext(lv->llvm);
	lv->ptr = LLVMPointerTypeInContext(lv->llvm, 0);
	// Offset 0 is the empty string.
	lv_string(lv, "");
	if (lv->options->keep_ir && mkdir(lv->options->keep_ir, 0777) && errno != EEXIST)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", lv->options->keep_ir);
	return NULL;
}

static struct gs_error *run_slots(struct lv *lv)
{
	struct gs_error *err = lv_fields(lv);

	if (err)
		return err;
	lv_symbols(lv);
	lv_slots_finish(lv);
	return NULL;
}

static struct gs_error *run_local(struct lv *lv)
{
	lv_sanitize(lv);
	lv_guard(lv);
	return lv_inline(lv);
}

// Stages that cannot fail other than by refusing.
#define SIMPLE(name, ...)                           \
	static struct gs_error *name(struct lv *lv) \
	{                                           \
		__VA_ARGS__;                        \
		return NULL;                        \
	}

SIMPLE(run_detectors, lv_clean(lv), lv_refuse_early(lv), lv_params(lv), lv_detectors(lv))
SIMPLE(run_bitfields, lv_kernel_types(lv), lv_bitfields(lv))
SIMPLE(run_records, lv_refuse_late(lv), lv_strides(lv), lv_records(lv))
SIMPLE(run_bounds, lv_refuse_circles(lv), lv_bounds(lv))
SIMPLE(run_loads, lv_loads(lv), lv_budget(lv), lv_lower(lv))

static const struct {
	const char *name;
	struct gs_error *(*run)(struct lv *lv);
	/**
	 * What the author wrote is judged as a whole up to here: errors so far end the compilation.
	 */
	bool judge;
} stages[] = {
	{ "1-detectors", run_detectors, true }, { "2-bitfields", run_bitfields, false },
	{ "3-slots", run_slots, true },		{ "4-inlined", run_local, false },
	{ "5-records", run_records, false },	{ "6-bounds", run_bounds, true },
	{ "7-optimized", lv_optimize, false },	{ "8-loads", run_loads, true },
};

static struct gs_error *verify(struct lv *lv, const char *stage)
{
	char *message = NULL;
	struct gs_error *err = NULL;

	if (LLVMVerifyModule(lv->module, LLVMReturnStatusAction, &message))
		err = gs_error_create(GS_ERROR_OTHER, "stage %s made wrong IR, a bug of llview: %s",
				      stage, message);
	LLVMDisposeMessage(message);
	return err;
}

static struct gs_error *refused(struct lv *lv)
{
	return gs_error_create(GS_ERROR_DETECTOR, "%u error%s, nothing written", lv->errors,
			       lv->errors == 1 ? "" : "s");
}

static struct gs_error *run_stages(struct lv *lv)
{
	struct gs_error *err = lv_frontend(lv);

	if (err)
		return err;
	if (lv->errors)
		return refused(lv);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		err = stages[i].run(lv);
		if (err)
			return err;
		if (lv->errors && stages[i].judge)
			return refused(lv);
		err = lv_keep(lv, lv->module, stages[i].name);
		if (!err)
			err = verify(lv, stages[i].name);
		if (err)
			return err;
	}
	return lv_emit(lv);
}

struct gs_error *lv_compile(const struct lv_options *options)
{
	struct lv lv = { .options = options };
	struct gs_error *err = lv_init(&lv);

	if (!err)
		err = run_stages(&lv);
	lv_deinit(&lv);
	return err;
}
