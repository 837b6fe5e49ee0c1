/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Reads of one object that are issued together.
 *
 * A GPU issues in order: the first use of a loaded value blocks everything behind it, and a load from
 * the host's memory takes about a microsecond. So the loads from one moving address (a pointer and
 * offsets that are settled when the detector is loaded) are issued where that address becomes known:
 * first all addresses are translated, then all are read, and nothing is used before. Where the load
 * stood, the value is used if its address could be translated; if not, the load is done there as
 * always, which also counts the failure.
 */
#ifndef LLVIEW_OVERLAP_H
#define LLVIEW_OVERLAP_H

#include "provenance.h"

/** Bytes of a copy or string that is read early, at most. */
#define LV_EARLY_BYTES 64

/** What was read early. */
struct lv_early {
	/** i64: where it is in the engine's memory; 0: not translated, nothing was read. */
	LLVMValueRef place;
	/**
	 * A load: the value as integer. A copy or string: the words (i64) of the units of 16 bytes that contain it; the
	 * first begins at its address rounded down to 16. The last unit may be one too many, then it is 0.
	 */
	LLVMValueRef v[2 * ((LV_EARLY_BYTES + 30) / 16)];
	unsigned int count;
};

struct lv_overlap;

/** Decide on @p fn, and emit the early reads. Accesses stay as they are. */
struct lv_overlap *lv_overlap_create(struct lv *lv, struct lv_provenance *prov, LLVMValueRef fn);
void lv_overlap_destroy(struct lv_overlap *overlap);

/**
 * What was read early for the load or copy @p inst, or for operand @p operand of a gs.record; NULL:
 * nothing.
 */
const struct lv_early *lv_early(const struct lv_overlap *overlap, LLVMValueRef inst,
				unsigned int operand);

/**
 * Branch before @p inst: @p ret_blocks[0] is for when it was read early, [1] for when not. Both are
 * empty and to end with a branch to the block of @p inst; the builder stands in the second.
 */
void lv_early_branch(struct lv *lv, const struct lv_early *early, LLVMValueRef inst,
		     LLVMBasicBlockRef ret_blocks[2]);

/**
 * Store what was read early from @p address (i64), @p bytes of it, to @p to, which has the alignment
 * @p align (1, 2, 4 or 8), at the builder's place.
 */
void lv_early_store(struct lv *lv, const struct lv_early *early, LLVMValueRef address,
		    uint64_t bytes, LLVMValueRef to, unsigned int align);

/** For a back end that reads in time anyway: take the early reads out of @p module. */
void lv_overlap_drop(LLVMModuleRef module);

#endif
