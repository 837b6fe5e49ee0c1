// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/Error.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "emit.h"
#include "find.h"
#include "globals.h"
#include "ir.h"
#include "overlap.h"
#include "process.h"

struct backend {
	const char *name, *triple, *cpu, *features;
	LLVMCodeGenFileType type;
};

// sm_80 is the oldest GPU that we support; PTX is compiled for the newer ones when it is loaded
// (PTX ISA 7.0, 1.1).
static const struct backend nvptx = { "nvptx64", "nvptx64-nvidia-cuda", "sm_80", "+ptx70",
				      LLVMAssemblyFile };
static const struct backend x86 = { "x86_64", "x86_64-unknown-linux-gnu", "x86-64", "",
				    LLVMObjectFile };

static struct gs_error *take_message(const char *what, char *message)
{
	struct gs_error *err =
		gs_error_create(GS_ERROR_OTHER, "%s: %s", what, message ? message : "failed");

	LLVMDisposeMessage(message);
	return err;
}

static struct gs_error *create_machine(const struct backend *backend, LLVMTargetMachineRef *ret)
{
	LLVMTargetRef target;
	char *message = NULL;

	if (LLVMGetTargetFromTriple(backend->triple, &target, &message))
		return take_message(backend->triple, message);
	*ret = LLVMCreateTargetMachine(target, backend->triple, backend->cpu, backend->features,
				       LLVMCodeGenLevelAggressive, LLVMRelocPIC,
				       LLVMCodeModelDefault);
	return *ret ? NULL
		    : gs_error_create(GS_ERROR_OTHER, "%s: no such machine", backend->triple);
}

static bool is_entry(LLVMValueRef fn)
{
	size_t length;

	const char *name = LLVMGetValueName2(fn, &length);

	return lv_starts(name, "gs_run_") || lv_starts(name, "gs_loop_");
}

// The calls that were emitted must be those that the runtime defines, argument by argument.
static struct gs_error *link_runtime(struct lv *lv, LLVMModuleRef module,
				     const struct backend *backend)
{
	_cleanup_free_ char *dir = lv_find_runtime(lv->options->runtime);
	LLVMModuleRef runtime;

	if (!dir)
		return gs_error_create(
			GS_ERROR_OTHER,
			"the runtime's bitcode is not found; name its directory with "
			"--runtime or in GPUSENTINEL_RUNTIME");

	_cleanup_free_ char *path = lv_format("%s/rt.%s.bc", dir, backend->name);
	struct gs_error *err = lv_load_bitcode(lv, path, &runtime);

	if (err)
		return err;
	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		size_t length;
		const char *name = LLVMGetValueName2(fn, &length);
		LLVMValueRef other = LLVMGetNamedFunction(runtime, name);

		if (!lv_starts(name, "gs_rt_"))
			continue;
		if (!other || LLVMIsDeclaration(other))
			err = gs_error_create(GS_ERROR_OTHER, "%s: no function %s in it", path,
					      name);
		else if (LLVMGlobalGetValueType(other) != LLVMGlobalGetValueType(fn))
			err = gs_error_create(GS_ERROR_OTHER,
					      "%s: %s has other parameters than llview expects",
					      path, name);
		if (err) {
			LLVMDisposeModule(runtime);
			return err;
		}
	}
	// The runtime brings its own idea of the layout string; both describe the same machine.
	LLVMSetTarget(runtime, backend->triple);
	LLVMSetDataLayout(runtime, LLVMGetDataLayoutStr(module));
	LLVMStripModuleDebugInfo(runtime);
	if (LLVMLinkModules2(module, runtime))
		return gs_error_create(GS_ERROR_OTHER, "%s: cannot be linked", path);
	return NULL;
}

static void internalize(LLVMModuleRef module)
{
	static const char *const cpu_attributes[] = { "target-cpu", "target-features", "tune-cpu" };

	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		if (LLVMIsDeclaration(fn))
			continue;
		if (!is_entry(fn)) {
			LLVMSetVisibility(fn, LLVMDefaultVisibility);
			LLVMSetLinkage(fn, LLVMInternalLinkage);
		}
		// One machine for all, else LLVM would not inline one into the other.
		for (size_t i = 0; i < ARRAY_SIZE(cpu_attributes); i++)
			LLVMRemoveStringAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
							 cpu_attributes[i],
							 strlen(cpu_attributes[i]));
	}
	for (LLVMValueRef g = LLVMGetFirstGlobal(module); g; g = LLVMGetNextGlobal(g)) {
		size_t length;

		if (LLVMIsDeclaration(g) || lv_starts(LLVMGetValueName2(g, &length), "llvm."))
			continue;
		LLVMSetVisibility(g, LLVMDefaultVisibility);
		LLVMSetLinkage(g, LLVMInternalLinkage);
	}
}

// Entry points: the calling convention, and the annotation that LLVM 19's back end goes by.
static void mark_kernels(struct lv *lv, LLVMModuleRef module)
{
	enum { PTX_KERNEL = 71 };

	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		if (!is_entry(fn))
			continue;

		LLVMMetadataRef node[] = {
			LLVMValueAsMetadata(fn),
			LLVMMDStringInContext2(lv->llvm, "kernel", 6),
			LLVMValueAsMetadata(lv_u32(lv, 1)),
		};

		LLVMSetFunctionCallConv(fn, PTX_KERNEL);
		LLVMAddNamedMetadataOperand(
			module, "nvvm.annotations",
			LLVMMetadataAsValue(lv->llvm, LLVMMDNodeInContext2(lv->llvm, node, 3)));
	}
}

// LLVM 19 has no pattern for fences in PTX; membar.sys is the strongest one (PTX ISA 7.0,
// 9.7.12.3).
static void replace_fences(struct lv *lv, LLVMModuleRef module)
{
	LLVMTypeRef type = LLVMFunctionType(lv->void_type, NULL, 0, false);
	LLVMValueRef membar = NULL;

	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		_cleanup_values_ struct lv_values list = lv_instructions(fn);

		for (size_t i = 0; i < list.count; i++) {
			if (!LLVMIsAFenceInst(list.v[i]))
				continue;
			if (!membar)
				membar = LLVMGetNamedFunction(module, "llvm.nvvm.membar.sys");
			if (!membar)
				membar = LLVMAddFunction(module, "llvm.nvvm.membar.sys", type);
			lv_before(lv, list.v[i]);
			LLVMBuildCall2(lv->builder, type, membar, NULL, 0, "");
			LLVMInstructionEraseFromParent(list.v[i]);
		}
	}
}

static struct gs_error *optimize(LLVMModuleRef module, LLVMTargetMachineRef machine)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef failed = LLVMRunPasses(module, "default<O3>", machine, options);

	LLVMDisposePassBuilderOptions(options);
	if (!failed)
		return NULL;

	char *message = LLVMGetErrorMessage(failed);
	struct gs_error *err = gs_error_create(GS_ERROR_OTHER, "LLVM: %s", message);

	LLVMDisposeErrorMessage(message);
	return err;
}

static struct gs_error *prepare(struct lv *lv, LLVMModuleRef module, const struct backend *backend,
				LLVMTargetMachineRef machine)
{
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
	char *text = LLVMCopyStringRepOfTargetData(layout);

	LLVMStripModuleDebugInfo(module);
	LLVMSetTarget(module, backend->triple);
	LLVMSetDataLayout(module, text);
	LLVMDisposeMessage(text);
	LLVMDisposeTargetData(layout);

	lv_entries(lv, module, backend == &nvptx);
	if (backend != &nvptx && lv->options->overlap != LV_OVERLAP_ALL)
		lv_overlap_drop(module);

	struct gs_error *err = link_runtime(lv, module, backend);

	if (err)
		return err;
	internalize(module);
	if (backend == &nvptx) {
		mark_kernels(lv, module);
		replace_fences(lv, module);
	} else {
		lv_libcalls(lv, module);
	}

	_cleanup_free_ char *stage = lv_format("9-linked.%s", backend->name);

	err = lv_keep(lv, module, stage);
	if (!err)
		err = optimize(module, machine);
	return err;
}

static struct gs_error *generate(struct lv *lv, const struct backend *backend, LLVMModuleRef module,
				 LLVMTargetMachineRef machine, LLVMMemoryBufferRef *ret)
{
	_cleanup_free_ char *stage = lv_format("10-final.%s", backend->name);
	char *message = NULL;
	struct gs_error *err = lv_keep(lv, module, stage);

	if (err)
		return err;
	if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, backend->type, &message, ret))
		return take_message(backend->name, message);
	return NULL;
}

// A constant in a section of its own that nothing refers to.
static LLVMValueRef add_section(struct lv *lv, LLVMModuleRef module, const char *section,
				const char *data, size_t size)
{
	LLVMValueRef bytes = LLVMConstStringInContext2(lv->llvm, data, size, true);
	LLVMValueRef global = LLVMAddGlobal(module, LLVMTypeOf(bytes), "gs.section");

	LLVMSetInitializer(global, bytes);
	LLVMSetGlobalConstant(global, true);
	LLVMSetLinkage(global, LLVMInternalLinkage);
	LLVMSetSection(global, section);
	LLVMSetAlignment(global, 8);
	return global;
}

static void add_sections(struct lv *lv, LLVMModuleRef module, LLVMMemoryBufferRef ptx)
{
	size_t size;
	_cleanup_free_ char *manifest = lv_manifest(lv, &size);
	_cleanup_free_ char *text =
		lv_format("%.*s", (int)LLVMGetBufferSize(ptx), LLVMGetBufferStart(ptx));
	LLVMValueRef kept[] = {
		add_section(lv, module, GS_FAT_SECTION, manifest, size),
		add_section(lv, module, GS_FAT_PTX_SECTION, text, strlen(text) + 1),
	};
	LLVMValueRef array = LLVMConstArray2(lv->ptr, kept, ARRAY_SIZE(kept));
	LLVMValueRef used = LLVMAddGlobal(module, LLVMTypeOf(array), "llvm.used");

	LLVMSetInitializer(used, array);
	LLVMSetLinkage(used, LLVMAppendingLinkage);
	LLVMSetSection(used, "llvm.metadata");
}

static struct gs_error *run_backend(struct lv *lv, const struct backend *backend,
				    LLVMMemoryBufferRef ptx, LLVMMemoryBufferRef *ret)
{
	LLVMTargetMachineRef machine;
	struct gs_error *err = create_machine(backend, &machine);

	if (err)
		return err;

	LLVMModuleRef module = LLVMCloneModule(lv->module);

	err = prepare(lv, module, backend, machine);
	if (!err)
		lv_order_globals(module);
	if (!err && ptx)
		add_sections(lv, module, ptx);
	if (!err)
		err = generate(lv, backend, module, machine, ret);
	LLVMDisposeModule(module);
	LLVMDisposeTargetMachine(machine);
	return gs_error_prefix(err, "%s", backend->name);
}

static struct gs_error *write_file(const char *path, LLVMMemoryBufferRef buffer)
{
	_cleanup_fclose_ FILE *file = fopen(path, "we");
	size_t size = LLVMGetBufferSize(buffer);

	if (!file || fwrite(LLVMGetBufferStart(buffer), 1, size, file) != size || fflush(file))
		return gs_error_errno(GS_ERROR_OTHER, errno, "cannot write %s", path);
	return NULL;
}

// Under another name first, so that a failed run leaves the old file or none.
static struct gs_error *link_output(struct lv *lv, LLVMMemoryBufferRef object)
{
	_cleanup_free_ char *in = lv_format("%s/detector.o", lv->scratch);
	_cleanup_free_ char *out = lv_format("%s.%ld.tmp", lv->options->output, (long)getpid());
	char *argv[] = {
		LV_LLD,
		"-shared",
		"--hash-style=gnu",
		"--build-id=none",
		"-z",
		"relro",
		"-z",
		"now",
		"-z",
		"noexecstack",
		"-z",
		"defs",
		"-s",
		"-o",
		out,
		in,
		NULL,
	};
	int status = 0;
	struct gs_error *err = write_file(in, object);

	if (!err)
		err = lv_spawn(argv, &status);
	if (!err && status)
		err = gs_error_create(GS_ERROR_OTHER, "%s: not linked", lv->options->output);
	if (!err && rename(out, lv->options->output))
		err = gs_error_errno(GS_ERROR_OTHER, errno, "cannot write %s", lv->options->output);
	if (err)
		unlink(out);
	return err;
}

static void initialize_targets(void)
{
	LLVMInitializeNVPTXTargetInfo();
	LLVMInitializeNVPTXTarget();
	LLVMInitializeNVPTXTargetMC();
	LLVMInitializeNVPTXAsmPrinter();
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
}

struct gs_error *lv_emit(struct lv *lv)
{
	LLVMMemoryBufferRef ptx = NULL, object = NULL;

	initialize_targets();

	struct gs_error *err = run_backend(lv, &nvptx, NULL, &ptx);

	if (!err && lv->options->keep_ir) {
		_cleanup_free_ char *path = lv_format("%s/detector.ptx", lv->options->keep_ir);

		err = write_file(path, ptx);
	}
	if (!err)
		err = run_backend(lv, &x86, ptx, &object);
	if (!err)
		err = link_output(lv, object);
	if (ptx)
		LLVMDisposeMemoryBuffer(ptx);
	if (object)
		LLVMDisposeMemoryBuffer(object);
	return err;
}
