/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Checks of accesses to local memory, shared by the stages before and after optimisation.
 */
#ifndef LLVIEW_ACCESS_H
#define LLVIEW_ACCESS_H

#include "provenance.h"

/** When bounds are checked. */
enum lv_check_time {
	/** Before anything is inlined or simplified: the code may turn out to be dead. */
	LV_CHECK_SOURCE,
	/** Before optimisation: an access that can never be inside is an error. */
	LV_CHECK_INLINED,
	/** After it. */
	LV_CHECK_OPTIMIZED,
};

/**
 * Put a check before @p inst that @p bytes (i64) at @p pointer, which is local, are inside their
 * object; if not, the detector stops. Nothing is emitted if that shows now.
 */
void lv_check(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst, LLVMValueRef pointer,
	      LLVMValueRef bytes, enum lv_check_time when);

/**
 * Put a check before @p inst that @p pointer, into an object aligned to @p size, is aligned to it
 * as well.
 */
void lv_check_aligned(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst,
		      LLVMValueRef pointer, uint64_t size);

/** The condition that @p bytes are inside, at the builder's place. */
LLVMValueRef lv_inside(struct lv *lv, struct lv_extent extent, LLVMValueRef bytes);

/** Branch to a block that stops the detector unless @p condition; ends the builder's block. */
void lv_require(struct lv *lv, LLVMValueRef condition, LLVMBasicBlockRef next, uint32_t site);

/** Note an access for --dump. */
void lv_note(struct lv *lv, LLVMValueRef inst, enum gs_load_kind kind, uint64_t size,
	     const char *why);

#endif
