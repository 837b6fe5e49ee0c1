// SPDX-License-Identifier: Apache-2.0
#include "llview.h"

#include <sys/stat.h>
#include <limits.h>
#include <string.h>

#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>

#include "diag.h"
#include "emit.h"
#include "find.h"
#include "ir.h"
#include "process.h"

struct args {
	LV_TABLE(char *) list;
};

// C as kernel engineers mean it: nothing is undefined that the memory of a dying machine could make
// happen.
static char *const fixed_args[] = {
	"-target",
	"bpfel",
	"-mcpu=v4",
	"-O2",
	"-Xclang",
	"-disable-llvm-passes",
	"-g",
	"-emit-llvm",
	"-c",
	"-std=gnu11",
	"-ffreestanding",
	"-fwrapv",
	"-fno-strict-aliasing",
	"-fno-delete-null-pointer-checks",
	"-fno-finite-loops",
	"-ftrivial-auto-var-init=zero",
	"-fno-jump-tables",
	"-fno-discard-value-names",
	"-fno-stack-protector",
	"-fno-addrsig",
	"-Wall",
	"-Wextra",
	"-Wno-unused-parameter",
	"-Wno-unused-command-line-argument",
};

static struct gs_error *compile_one(struct lv *lv, char *source, char *object)
{
	struct args args = {};
	_cleanup_free_ char *include = lv_find_include();
	char clang[] = LV_CLANG, minus_i[] = "-isystem", minus_o[] = "-o";

	lv_push(args.list, clang);
	for (size_t i = 0; i < ARRAY_SIZE(fixed_args); i++)
		lv_push(args.list, fixed_args[i]);
	for (size_t i = 0; i < lv->options->clang_arg_count; i++)
		lv_push(args.list, lv->options->clang_args[i]);
	if (include) {
		lv_push(args.list, minus_i);
		lv_push(args.list, include);
	}
	lv_push(args.list, source);
	lv_push(args.list, minus_o);
	lv_push(args.list, object);
	lv_push(args.list, NULL);

	int status = 0;
	struct gs_error *err = lv_spawn(args.list.v, &status);

	free(args.list.v);
	if (err)
		return err;
	// clang has said what is wrong.
	if (status)
		return gs_error_create(status == 1 ? GS_ERROR_DETECTOR : GS_ERROR_OTHER,
				       "%s: not compiled", source);
	return NULL;
}

struct gs_error *lv_load_bitcode(struct lv *lv, const char *path, LLVMModuleRef *ret)
{
	LLVMMemoryBufferRef buffer;
	char *message = NULL;

	if (LLVMCreateMemoryBufferWithContentsOfFile(path, &buffer, &message)) {
		struct gs_error *err = gs_error_create(GS_ERROR_OTHER, "%s: %s", path, message);

		LLVMDisposeMessage(message);
		return err;
	}

	LLVMBool failed = LLVMParseBitcodeInContext2(lv->llvm, buffer, ret);

	LLVMDisposeMemoryBuffer(buffer);
	return failed ? gs_error_create(GS_ERROR_OTHER, "%s: not LLVM bitcode", path) : NULL;
}

// LLVM's linker names no place: say here where both are.
static void check_duplicates(struct lv *lv, LLVMModuleRef more)
{
	for (LLVMValueRef fn = LLVMGetFirstFunction(more); fn; fn = LLVMGetNextFunction(fn)) {
		size_t length;
		const char *name = LLVMGetValueName2(fn, &length);
		LLVMValueRef other = LLVMGetNamedFunction(lv->module, name);

		if (LLVMIsDeclaration(fn) || !other || LLVMIsDeclaration(other) ||
		    LLVMGetLinkage(fn) != LLVMExternalLinkage ||
		    LLVMGetLinkage(other) != LLVMExternalLinkage)
			continue;

		_cleanup_place_ struct lv_place here = lv_place_of_global(lv, fn);
		_cleanup_place_ struct lv_place there = lv_place_of_global(lv, other);
		bool detector = lv_starts(name, "gs_run_");

		lv_error_at(lv, &here, "%s %s is defined twice; the other one is at %s:%u",
			    detector ? "detector" : "function",
			    detector ? name + strlen("gs_run_") : name,
			    there.file ? there.file : "?", there.line);
	}
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *arg)
{
	struct lv *lv = arg;
	char *text = LLVMGetDiagInfoDescription(info);

	if (LLVMGetDiagInfoSeverity(info) == LLVMDSError) {
		lv_error_at(lv, &(struct lv_place){}, "%s", text);
	}
	LLVMDisposeMessage(text);
}

struct gs_error *lv_frontend(struct lv *lv)
{
	LLVMContextSetDiagnosticHandler(lv->llvm, on_diagnostic, lv);

	struct gs_error *first = NULL;

	for (size_t i = 0; i < lv->options->source_count; i++) {
		_cleanup_free_ char *object = lv_format("%s/%zu.bc", lv->scratch, i);
		LLVMModuleRef module = NULL;
		struct gs_error *err = compile_one(lv, lv->options->sources[i], object);

		if (!err && !first)
			err = lv_load_bitcode(lv, object, &module);
		if (err) {
			// The other files may have errors to show, too.
			if (first)
				gs_error_destroy(err);
			else
				first = err;
			continue;
		}
		if (!module)
			continue;
		if (!lv->module) {
			lv->module = module;
			// Not the scratch file's name, which differs from run to run.
			LLVMSetModuleIdentifier(module, "detector", strlen("detector"));
			continue;
		}
		check_duplicates(lv, module);
		if (lv->errors) {
			LLVMDisposeModule(module);
			continue;
		}
		if (LLVMLinkModules2(lv->module, module) && !lv->errors)
			return gs_error_create(GS_ERROR_OTHER,
					       "%s: cannot be linked with the other files",
					       lv->options->sources[i]);
	}
	return first;
}
