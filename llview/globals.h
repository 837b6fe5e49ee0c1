/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Static variables that point to each other.
 */
#ifndef LLVIEW_GLOBALS_H
#define LLVIEW_GLOBALS_H

#include "llview.h"

/** Refuse initializers that refer to each other in a circle: PTX cannot say them. */
void lv_refuse_circles(struct lv *lv);

/**
 * Put every variable behind those that its initializer refers to. PTX wants this order; left to
 * itself LLVM 19 makes it by walking a hash table of addresses, and the output would differ from
 * run to run.
 */
void lv_order_globals(LLVMModuleRef module);

#endif
