/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Accesses to kernel memory that may be done early, and how early.
 */
#ifndef LLVIEW_ACCESSES_H
#define LLVIEW_ACCESSES_H

#include "cfg.h"
#include "linear.h"
#include "provenance.h"

/**
 * Conditions on what was read that may lie between the place where a load is issued and where it
 * stands: a load too many is cheap beside a latency saved, unless it is unlikely to be needed.
 */
#define LV_CONDITIONS 2

/** A place where reads may be issued. */
struct lv_point {
	/** Before this instruction. NULL: nowhere. */
	LLVMValueRef before;
	/** Number of its block. */
	unsigned int block;
};

struct lv_kernel_access {
	/** A load, a copy, or a gs.record and the operand that is a string. */
	LLVMValueRef inst;
	unsigned int operand;
	/** Loads of 1, 2, 4 or 8 bytes; else words. */
	bool words;
	uint64_t size;
	struct lv_linear address;
	/** Number of its block, and its place in it. */
	unsigned int block, index;
	/** Where it may be issued, and the conditions between there and here. */
	struct lv_point point;
	unsigned int conditions;
};

struct lv_accesses {
	struct lv *lv;
	struct lv_provenance *prov;
	struct lv_cfg *cfg;
	struct lv_linears linears;
	LV_TABLE(struct lv_kernel_access) list;
	/** Of each block. */
	struct lv_block_facts *facts;
	/** Of each block that was asked about, what comes behind it. */
	struct lv_behind_facts *behind;
};

/** Collect the accesses of @p fn in the order of its blocks, each with its point. */
struct lv_accesses *lv_accesses_create(struct lv *lv, struct lv_provenance *prov, LLVMValueRef fn);
void lv_accesses_destroy(struct lv_accesses *accesses);

/** @p b may run after @p a before the block @p start comes again. */
bool lv_access_follows(struct lv_accesses *accesses, const struct lv_kernel_access *a,
		       const struct lv_kernel_access *b, unsigned int start);

#endif
