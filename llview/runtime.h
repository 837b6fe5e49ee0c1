/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Calls of the device runtime (gpusentinel/ctx.h lists them), emitted at the builder's place in @p
 * fn, whose first parameter is the context.
 */
#ifndef LLVIEW_RUNTIME_H
#define LLVIEW_RUNTIME_H

#include "llview.h"

/** Load @p bits (8, 16, 32, 64) of kernel memory. */
LLVMValueRef lv_rt_load(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits);

/** The same for a load that was tried early and could not be translated: it rarely comes to this. */
LLVMValueRef lv_rt_again(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits);

/** The same, ordered among all other reads: READ_ONCE(). */
LLVMValueRef lv_rt_once(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits);

/** Copy @p bytes of kernel memory to @p local. */
void lv_rt_copy(struct lv *lv, LLVMValueRef fn, LLVMValueRef local, LLVMValueRef address,
		LLVMValueRef bytes);

/** Call gs_rt_<name>(ctx, args...). */
LLVMValueRef lv_rt(struct lv *lv, LLVMValueRef fn, const char *name, LLVMTypeRef ret,
		   LLVMValueRef *args, unsigned int count);

#endif
