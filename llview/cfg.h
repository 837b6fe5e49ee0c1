/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The blocks of a function, and which of them come before which.
 */
#ifndef LLVIEW_CFG_H
#define LLVIEW_CFG_H

#include "llview.h"
#include "ptrmap.h"

/** No block. */
#define LV_NO_BLOCK UINT_MAX

/** A block that can be reached, by its number: its place in reverse postorder, entry 0. */
struct lv_block {
	LLVMBasicBlockRef block;
	/** Numbers of its successors, each once. */
	unsigned int *succ, succ_count;
	unsigned int *pred, pred_count;
	/** Immediate dominator; that of the entry is the entry. */
	unsigned int idom;
	/**
	 * Immediate post-dominator; LV_NO_BLOCK: none, or that is the end of the function. Blocks from
	 * which the detector can only be stopped count for nothing.
	 */
	unsigned int ipdom;
	/** Some way leads from here to the end of the function. */
	bool ends;
};

struct lv_cfg {
	struct lv_block *v;
	unsigned int count;
	struct lv_ptrmap numbers;
};

struct lv_cfg *lv_cfg_create(LLVMValueRef fn);
void lv_cfg_destroy(struct lv_cfg *cfg);

/** Number of @p block, LV_NO_BLOCK if it cannot be reached. */
unsigned int lv_cfg_number(const struct lv_cfg *cfg, LLVMBasicBlockRef block);

/** Every way to @p b leads through @p a. */
bool lv_cfg_dominates(const struct lv_cfg *cfg, unsigned int a, unsigned int b);

/** Every way from @p b to the end of the function leads through @p a. */
bool lv_cfg_postdominates(const struct lv_cfg *cfg, unsigned int a, unsigned int b);

/** What is known of a block once another one, the start, has run. */
enum lv_reach {
	/** A way leads from the end of the start to here without the start coming again. */
	LV_REACHED = 1,
	/** It may run several times before the start comes again. */
	LV_REACH_REPEATED = 2,
	/** A way leads from here to the start. */
	LV_REACH_RETURNS = 4,
};

/** LV_REACH_* of each block, seen from @p start. End with free(). */
unsigned char *lv_cfg_reach(const struct lv_cfg *cfg, unsigned int start);

#endif
