/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Code generation, shared parts.
 */
#ifndef LLVIEW_EMIT_H
#define LLVIEW_EMIT_H

#include "llview.h"

/** Read a file of LLVM bitcode. */
struct gs_error *lv_load_bitcode(struct lv *lv, const char *path, LLVMModuleRef *ret);

/** Define what the x86-64 back end calls for large copies, so that the object needs no library. */
void lv_libcalls(struct lv *lv, LLVMModuleRef module);

#endif
