// SPDX-License-Identifier: Apache-2.0
#include "access.h"

#include <string.h>

#include "diag.h"
#include "ir.h"

LLVMValueRef lv_inside(struct lv *lv, struct lv_extent extent, LLVMValueRef bytes)
{
	LLVMValueRef fits = LLVMBuildICmp(lv->builder, LLVMIntULE, bytes, extent.size, "");
	LLVMValueRef room = LLVMBuildSub(lv->builder, extent.size, bytes, "");
	LLVMValueRef begins = LLVMBuildICmp(lv->builder, LLVMIntULE, extent.offset, room, "");

	return LLVMBuildAnd(lv->builder, fits, begins, "");
}

void lv_require(struct lv *lv, LLVMValueRef condition, LLVMBasicBlockRef next, uint32_t site)
{
	LLVMBasicBlockRef stop = LLVMInsertBasicBlockInContext(lv->llvm, next, "");

	LLVMMoveBasicBlockAfter(stop, next);
	LLVMBuildCondBr(lv->builder, condition, next, stop);
	LLVMPositionBuilderAtEnd(lv->builder, stop);
	lv_stop(lv, GS_STOP_BOUNDS, site);
}

static bool all_constant(struct lv_extent extent, LLVMValueRef bytes)
{
	return LLVMIsAConstantInt(extent.size) && LLVMIsAConstantInt(extent.offset) &&
	       LLVMIsAConstantInt(bytes);
}

static char *describe(struct lv_provenance *prov, LLVMValueRef pointer, struct lv_extent extent,
		      LLVMValueRef bytes)
{
	_cleanup_free_ char *words = lv_origin_words(prov, pointer);

	return lv_format("out of bounds: %llu bytes at offset %lld of a %s of %llu bytes",
			 LLVMConstIntGetZExtValue(bytes), LLVMConstIntGetSExtValue(extent.offset),
			 words, LLVMConstIntGetZExtValue(extent.size));
}

static bool surely_inside(struct lv_extent extent, LLVMValueRef bytes)
{
	uint64_t size = LLVMConstIntGetZExtValue(extent.size);
	uint64_t offset = LLVMConstIntGetZExtValue(extent.offset);
	uint64_t n = LLVMConstIntGetZExtValue(bytes);

	return n <= size && offset <= size - n;
}

// gs.outside(message): an error, if it is still there once dead code is gone.
static void mark_outside(struct lv *lv, char *message)
{
	LLVMValueRef index = lv_u32(lv, lv->outside.count);

	lv_push(lv->outside, message);
	lv_call(lv, "gs.outside", lv->void_type, &index, 1);
}

void lv_check(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst, LLVMValueRef pointer,
	      LLVMValueRef bytes, enum lv_check_time when)
{
	struct lv_extent extent = lv_extent(prov, pointer);
	bool constant = all_constant(extent, bytes);

	if (constant && surely_inside(extent, bytes))
		return;
	if (constant && when == LV_CHECK_INLINED) {
		_cleanup_free_ char *message = describe(prov, pointer, extent, bytes);

		lv_error(lv, inst, "%s", message);
		return;
	}

	if (constant && when == LV_CHECK_SOURCE) {
		lv_before(lv, inst);
		mark_outside(lv, describe(prov, pointer, extent, bytes));
		return;
	}

	uint32_t site = lv_site(lv, inst);
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);

	lv_split(lv, inst);
	lv_require(lv, lv_inside(lv, extent, bytes), tail, site);
}

void lv_check_aligned(struct lv_provenance *prov, struct lv *lv, LLVMValueRef inst,
		      LLVMValueRef pointer, uint64_t size)
{
	struct lv_extent extent = lv_extent(prov, pointer);

	if (LLVMIsAConstantInt(extent.offset) &&
	    LLVMConstIntGetZExtValue(extent.offset) % size == 0)
		return;

	uint32_t site = lv_site(lv, inst);
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);

	lv_split(lv, inst);
	LLVMValueRef rest = LLVMBuildAnd(lv->builder, extent.offset, lv_u64(lv, size - 1), "");

	lv_require(lv, LLVMBuildICmp(lv->builder, LLVMIntEQ, rest, lv_u64(lv, 0), ""), tail, site);
}

void lv_note(struct lv *lv, LLVMValueRef inst, enum gs_load_kind kind, uint64_t size,
	     const char *why)
{
	struct gs_fat_load load = {
		.kind = kind,
		.size = size > UINT32_MAX ? 0 : size,
		.site = lv_site(lv, inst),
		.why = lv_string(lv, why),
	};

	// Inlined or unrolled copies of one access are one access to the reader.
	for (size_t i = 0; i < lv->loads.count; i++) {
		if (memcmp(&lv->loads.v[i], &load, sizeof(load)) == 0)
			return;
	}
	lv_push(lv->loads, load);
}
