/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Small helpers over LLVM-C.
 */
#ifndef LLVIEW_IR_H
#define LLVIEW_IR_H

#include <llvm-c/DebugInfo.h>

#include <gpusentinel/ctx.h>

#include "llview.h"

static inline void lv_cleanup_values(struct lv_values *values)
{
	free(values->v);
}

#define _cleanup_values_ _cleanup_(lv_cleanup_values)

/** All instructions of @p fn, in order. A list, so that the caller may change the function. */
struct lv_values lv_instructions(LLVMValueRef fn);

/** All functions with a body. */
struct lv_values lv_functions(struct lv *lv);

/** Instructions that use @p value. */
struct lv_values lv_users(LLVMValueRef value);

/** Name of the function that @p inst calls, or "" if it is not a call of a known function. */
const char *lv_callee(LLVMValueRef inst);

/** True if @p text begins with @p prefix. */
bool lv_starts(const char *text, const char *prefix);

/** The text that a pointer to a constant string points to as new memory, or NULL. */
char *lv_constant_text(LLVMValueRef pointer);

/** Bytes of @p type when stored. */
uint64_t lv_size(struct lv *lv, LLVMTypeRef type);

/** Function @p name, declared with @p type if the module lacks it. */
LLVMValueRef lv_declare(struct lv *lv, const char *name, LLVMTypeRef type);

/** Add the enum attribute @p name with @p value to the function @p fn. */
void lv_attribute(struct lv *lv, LLVMValueRef fn, const char *name, uint64_t value);

/** Call a function with up to 8 arguments, at the builder's position. */
LLVMValueRef lv_call(struct lv *lv, const char *name, LLVMTypeRef ret, LLVMValueRef *args,
		     unsigned int count);

/** A constant. */
LLVMValueRef lv_u64(struct lv *lv, uint64_t value);
LLVMValueRef lv_u32(struct lv *lv, uint32_t value);

/** Put the builder before @p inst, with its debug location. */
void lv_before(struct lv *lv, LLVMValueRef inst);

/** Put the builder behind @p inst (for a phi: behind all phis), with its debug location. */
void lv_behind(struct lv *lv, LLVMValueRef inst);

/** Replace all uses of @p inst by @p value and delete it. */
void lv_replace(LLVMValueRef inst, LLVMValueRef value);

/**
 * Split the block before @p inst: what is before it moves into a new block, which is returned, has
 * no terminator yet, and at whose end the builder then stands. All values keep their identity.
 */
LLVMBasicBlockRef lv_split(struct lv *lv, LLVMValueRef inst);

/** `gs.slot(index)`: the value of a slot, i64. */
LLVMValueRef lv_slot_value(struct lv *lv, uint32_t index);

/** `gs.param(index)`: the value of a slot that may change from run to run, i64. */
LLVMValueRef lv_param_value(struct lv *lv, uint32_t index);

/** `gs.stop(reason, site)`, unreachable: leave the detector. Ends the builder's block. */
void lv_stop(struct lv *lv, enum gs_stop reason, uint32_t site);

/** Run passes given as opt's -passes= takes them. */
struct gs_error *lv_run_passes(struct lv *lv, const char *passes);

/** Write the module's text to keep_ir, if asked to. */
struct gs_error *lv_keep(struct lv *lv, LLVMModuleRef module, const char *stage);

#endif
