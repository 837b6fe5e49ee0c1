/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Addresses as sums: p->tasks.next, reached by container_of(), is p + one slot - another.
 *
 * What a sum is made of either changes while the detector runs (a pointer that was loaded, an
 * index), or is settled when it is loaded: constants and slots, and what is computed from them.
 */
#ifndef LLVIEW_LINEAR_H
#define LLVIEW_LINEAR_H

#include "llview.h"
#include "ptrmap.h"

/** Terms of a sum at most. */
#define LV_TERMS 6

struct lv_term {
	LLVMValueRef value;
	uint64_t factor;
};

struct lv_sum {
	struct lv_term v[LV_TERMS];
	unsigned int count;
};

/** moving + settled + constant, modulo 2^64; terms in the order of their values' addresses. */
struct lv_linear {
	struct lv_sum moving, settled;
	uint64_t constant;
};

/** What is known of a function's values. */
struct lv_linears {
	struct lv *lv;
	/** First instruction of the function: copies of settled values go before it. */
	LLVMValueRef start;
	/** number: 1: moving, 2: settled. first: copy of a settled value in the entry block. */
	struct lv_ptrmap values;
};

/** The address that @p pointer is; false if it has too many terms or is no address in the kernel. */
bool lv_linear(struct lv_linears *linears, LLVMValueRef pointer, struct lv_linear *ret);

/** The value is settled when the detector is loaded. */
bool lv_settled(struct lv_linears *linears, LLVMValueRef value);

bool lv_same_sum(const struct lv_sum *a, const struct lv_sum *b);

/** The address as i64, at the builder's place; everything that moves is known there. */
LLVMValueRef lv_linear_value(struct lv_linears *linears, const struct lv_linear *linear);

#endif
