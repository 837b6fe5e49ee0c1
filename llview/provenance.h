/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Which memory a pointer points to: the detector's own, the kernel's, or either.
 *
 * Own memory is what is derived from a stack or static object; everything else is an address in the
 * watched kernel, and no value that was read there can become a pointer to own memory.
 */
#ifndef LLVIEW_PROVENANCE_H
#define LLVIEW_PROVENANCE_H

#include "llview.h"

/** Bits: a pointer may be either, then both are set. */
enum lv_origin {
	LV_ORIGIN_NONE = 0,
	LV_ORIGIN_KERNEL = 1,
	LV_ORIGIN_LOCAL = 2,
	LV_ORIGIN_MIXED = 3,
};

struct lv_provenance;

/** Analyse @p fn. */
struct lv_provenance *lv_provenance_create(struct lv *lv, LLVMValueRef fn);
void lv_provenance_destroy(struct lv_provenance *prov);

/** Origin of @p pointer. */
enum lv_origin lv_origin(struct lv_provenance *prov, LLVMValueRef pointer);

/** @p pointer comes out of a constant table of local objects. */
bool lv_from_table(LLVMValueRef pointer);

/** The object that a local pointer surely points into, or NULL if there are several. */
LLVMValueRef lv_object(struct lv_provenance *prov, LLVMValueRef pointer);

/**
 * Size of the object behind a pointer, and the offset in it; i64 values computed at run time. Size
 * 0: not local.
 */
struct lv_extent {
	LLVMValueRef size, offset;
};

/** Emit what computes the extent of @p pointer; it dominates every use of @p pointer. */
struct lv_extent lv_extent(struct lv_provenance *prov, LLVMValueRef pointer);

/** What a local pointer points to, in words: "stack object task", "constant string". New memory. */
char *lv_origin_words(struct lv_provenance *prov, LLVMValueRef pointer);

#endif
