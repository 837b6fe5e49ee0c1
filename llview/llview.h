/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * One compilation: what its stages share. The stages, in order, are the functions below; llview.c
 * calls them.
 *
 * Between the stages that recognise something and the one that emits code for it, placeholder
 * functions stand in the IR ("gs.slot", "gs.record", ...): LLVM optimises around them without
 * knowing the runtime.
 */
#ifndef LLVIEW_H
#define LLVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llvm-c/Core.h>

#include <gpusentinel/error.h>
#include <gpusentinel/fat.h>

#include "util/array.h"
#include "util/cleanup.h"

/** Which back ends issue the reads of one object together (overlap.h). */
enum lv_overlapping {
	LV_OVERLAP_GPU,
	LV_OVERLAP_ALL,
	LV_OVERLAP_NONE,
};

/** What the command line asked for. */
struct lv_options {
	char **sources;
	size_t source_count;
	const char *output;
	/** Directory for the IR after each stage, or NULL. */
	const char *keep_ir;
	/** Directory of the runtime's bitcode, or NULL: look for it. */
	const char *runtime;
	/** Directory that the names of source files are relative to, or NULL: as they were given. */
	const char *source_root;
	enum lv_overlapping overlap;
	/** Arguments for clang: -I, -D, -U, -W, -include. */
	char **clang_args;
	size_t clang_arg_count, clang_arg_capacity;
};

/** A list of IR values. */
struct lv_values {
	LLVMValueRef *v;
	size_t count, capacity;
};

/** A slot while it is being collected. */
struct lv_slot {
	struct gs_fat_slot fat;
	/** The root type carries a `___flavor`. */
	bool flavor;
	/** Bytes, if the field is an array of characters; else 0. */
	uint64_t chars;
};

struct lv_detector {
	struct gs_fat_detector fat;
	/** `void gs_run_NAME(ptr ctx)`. */
	LLVMValueRef function;
};

/** A growing table of the manifest. */
#define LV_TABLE(type)                  \
	struct {                        \
		type *v;                \
		size_t count, capacity; \
	}

struct lv {
	const struct lv_options *options;
	LLVMContextRef llvm;
	LLVMModuleRef module;
	LLVMBuilderRef builder;
	LLVMTypeRef void_type, i1, i8, i16, i32, i64, ptr;

	LV_TABLE(struct lv_detector) detectors;
	LV_TABLE(struct lv_slot) slots;
	LV_TABLE(struct gs_fat_format) formats;
	LV_TABLE(struct gs_fat_site) sites;
	LV_TABLE(struct gs_fat_load) loads;
	/** Structures whose members the detector relocates; with duplicates. */
	LV_TABLE(LLVMTypeRef) kernel_types;
	LV_TABLE(char) strings;

	/** Messages about accesses that lv_guard() found to be out of bounds. */
	LV_TABLE(char *) outside;
	/** Messages printed so far, so that code inlined twice is reported once. */
	LV_TABLE(char *) said;
	/** Errors printed so far; any refuses the detector. */
	unsigned int errors;
	/** Scratch directory. */
	char *scratch;
};

/** Append to a table of struct lv; memory shortage ends the program. */
#define lv_push(table, value)                                                            \
	do {                                                                             \
		if (!gs_array_push((table).v, (table).count, (table).capacity, (value))) \
			lv_enomem();                                                     \
	} while (0)

/** Say that memory is short and exit, as LLVM itself does. */
void lv_enomem(void) __attribute__((noreturn));

/** sprintf into new memory. */
char *lv_format(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/** Offset of @p text in the manifest's strings; equal strings share one. */
uint32_t lv_string(struct lv *lv, const char *text);

/** Run one compilation. */
struct gs_error *lv_compile(const struct lv_options *options);

/** Compile the sources with clang and link them into lv->module. */
struct gs_error *lv_frontend(struct lv *lv);

/** Drop every promise that hostile memory, or C that goes wrong, could break. */
void lv_clean(struct lv *lv);

/** Drop what LLVM has concluded about a function, too. */
void lv_clean_attributes(LLVMValueRef fn);

/** Find the DETECTOR()s; each gets a function that takes the context. */
void lv_detectors(struct lv *lv);

/** Turn PARAM()s into slots. Before anything is optimised: their loads are still those that the author wrote. */
void lv_params(struct lv *lv);

/** Refuse what shows before anything is inlined: recursion, inline assembly, threads. */
void lv_refuse_early(struct lv *lv);

/** Make direct accesses to bit fields of kernel types relocatable. Before lv_fields(). */
void lv_bitfields(struct lv *lv);

/** Collect the types whose members are relocated. Before lv_fields(). */
void lv_kernel_types(struct lv *lv);

/** Run the BPF back end's CO-RE passes and turn what they leave into slots. */
struct gs_error *lv_fields(struct lv *lv);

/** Decide which slots may be absent. */
void lv_slots_finish(struct lv *lv);

/** Turn kernel symbols into slots. */
void lv_symbols(struct lv *lv);

/** Give defined results to what C leaves undefined and the CPU traps on. */
void lv_sanitize(struct lv *lv);

/**
 * Check the bounds of what is local at first sight, so that nothing can be concluded from an index
 * that leaves its array.
 */
void lv_guard(struct lv *lv);

/** Inline everything into the detectors. */
struct gs_error *lv_inline(struct lv *lv);

/** Refuse what is left and must not be, now that everything is in one function. */
void lv_refuse_late(struct lv *lv);

/** Make steps over kernel types in kernel memory go by their size there. */
void lv_strides(struct lv *lv);

/** Check formats and turn row(), finding(), metric() and what alarm() tells into gs.record. */
void lv_records(struct lv *lv);

/** Put bounds checks before accesses to local memory, and refuse stores elsewhere. */
void lv_bounds(struct lv *lv);

/** Optimise without vectorising. */
struct gs_error *lv_optimize(struct lv *lv);

/** Translate the accesses to kernel memory. */
void lv_loads(struct lv *lv);

/** Count loop back edges. */
void lv_budget(struct lv *lv);

/** Emit the runtime's calls for the placeholders. */
void lv_lower(struct lv *lv);

/** Give each detector what is called from outside; on a GPU also an entry in which it runs by itself. */
void lv_entries(struct lv *lv, LLVMModuleRef module, bool gpu);

/** Generate code for both machines, and the shared object. */
struct gs_error *lv_emit(struct lv *lv);

/** Serialise the tables; @p ret_size bytes, end with free(). */
char *lv_manifest(struct lv *lv, size_t *ret_size);

/** Print what is in a fat detector. */
struct gs_error *lv_dump(const char *path);

#endif
