// SPDX-License-Identifier: Apache-2.0
#include "access.h"
#include "diag.h"
#include "ir.h"
#include "overlap.h"
#include "records.h"
#include "runtime.h"

struct loads {
	struct lv *lv;
	struct lv_provenance *prov;
	struct lv_overlap *overlap;
	LLVMValueRef fn;
};

// Into a stack object, for types that no single load brings.
static LLVMValueRef load_by_copy(struct loads *l, LLVMTypeRef type, LLVMValueRef address,
				 LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(l->fn);
	LLVMBasicBlockRef here = LLVMGetInsertBlock(lv->builder);
	bool at_end = !inst;

	LLVMPositionBuilderBefore(lv->builder, LLVMGetFirstInstruction(entry));
	LLVMValueRef object = LLVMBuildAlloca(lv->builder, type, "");

	if (at_end)
		LLVMPositionBuilderAtEnd(lv->builder, here);
	else
		lv_before(lv, inst);
	lv_rt_copy(lv, l->fn, object, address, lv_u64(lv, lv_size(lv, type)));
	return LLVMBuildLoad2(lv->builder, type, object, "");
}

// READ_ONCE() and atomic loads.
static bool is_ordered(LLVMValueRef load)
{
	return LLVMGetVolatile(load) || LLVMGetOrdering(load) != LLVMAtomicOrderingNotAtomic;
}

static LLVMValueRef load_bits(struct loads *l, LLVMValueRef load, LLVMValueRef address,
			      unsigned int bits)
{
	return is_ordered(load) ? lv_rt_once(l->lv, l->fn, address, bits)
				: lv_rt_load(l->lv, l->fn, address, bits);
}

// For `load`, at the builder's place: before `inst`, or at the end of a block if that is NULL.
static LLVMValueRef kernel_load(struct loads *l, LLVMValueRef load, LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMTypeRef type = LLVMTypeOf(load);
	LLVMValueRef address = LLVMBuildPtrToInt(lv->builder, LLVMGetOperand(load, 0), lv->i64, "");

	switch (LLVMGetTypeKind(type)) {
	case LLVMPointerTypeKind:
		return LLVMBuildIntToPtr(lv->builder, load_bits(l, load, address, 64), type, "");
	case LLVMFloatTypeKind:
		return LLVMBuildBitCast(lv->builder, load_bits(l, load, address, 32), type, "");
	case LLVMDoubleTypeKind:
		return LLVMBuildBitCast(lv->builder, load_bits(l, load, address, 64), type, "");
	case LLVMIntegerTypeKind:
		break;
	default:
		return load_by_copy(l, type, address, inst);
	}

	unsigned int width = LLVMGetIntTypeWidth(type);

	if (width <= 8)
		return LLVMBuildIntCast2(lv->builder, load_bits(l, load, address, 8), type, false,
					 "");
	if (width == 16 || width == 32 || width == 64)
		return load_bits(l, load, address, width);
	return load_by_copy(l, type, address, inst);
}

static LLVMValueRef early_load(struct loads *l, LLVMTypeRef type, const struct lv_early *early,
			       LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMTypeRef bits = LLVMTypeOf(early->v[0]);
	LLVMBasicBlockRef blocks[2];
	LLVMValueRef values[2] = { early->v[0] };
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);

	lv_early_branch(lv, early, inst, blocks);

	LLVMValueRef address = LLVMBuildPtrToInt(lv->builder, LLVMGetOperand(inst, 0), lv->i64, "");

	values[1] = lv_rt_again(lv, l->fn, address, LLVMGetIntTypeWidth(bits));
	LLVMBuildBr(lv->builder, tail);
	LLVMPositionBuilderAtEnd(lv->builder, blocks[0]);
	LLVMBuildBr(lv->builder, tail);

	lv_before(lv, inst);
	LLVMValueRef phi = LLVMBuildPhi(lv->builder, bits, "");

	LLVMAddIncoming(phi, values, blocks, 2);
	if (LLVMGetTypeKind(type) == LLVMPointerTypeKind)
		return LLVMBuildIntToPtr(lv->builder, phi, type, "");
	return LLVMBuildBitCast(lv->builder, phi, type, "");
}

// Of what a copy writes to, 8 at most.
static uint64_t alignment_of(LLVMValueRef copy)
{
	unsigned int kind = LLVMGetEnumAttributeKindForName("align", 5);
	LLVMAttributeRef align = LLVMGetCallSiteEnumAttribute(copy, 1, kind);
	uint64_t value = align ? LLVMGetEnumAttributeValue(align) : 1;

	return value < 8 ? value : 8;
}

static void early_transfer(struct loads *l, const struct lv_early *early, LLVMValueRef inst,
			   LLVMValueRef address, LLVMValueRef bytes)
{
	struct lv *lv = l->lv;
	LLVMValueRef to = LLVMGetOperand(inst, 0);
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);
	LLVMBasicBlockRef blocks[2];

	lv_early_branch(lv, early, inst, blocks);
	lv_rt_copy(lv, l->fn, to, address, bytes);
	LLVMBuildBr(lv->builder, tail);
	LLVMPositionBuilderAtEnd(lv->builder, blocks[0]);
	lv_early_store(lv, early, address, LLVMConstIntGetZExtValue(bytes), to, alignment_of(inst));
	LLVMBuildBr(lv->builder, tail);
}

// The builder's block ends with a branch to one of two new blocks, both before `tail`.
static void branch_on_local(struct loads *l, struct lv_extent extent, LLVMBasicBlockRef tail,
			    LLVMBasicBlockRef *ret_local, LLVMBasicBlockRef *ret_kernel)
{
	struct lv *lv = l->lv;
	LLVMValueRef local = LLVMBuildICmp(lv->builder, LLVMIntNE, extent.size, lv_u64(lv, 0), "");

	*ret_local = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");
	*ret_kernel = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");
	LLVMBuildCondBr(lv->builder, local, *ret_local, *ret_kernel);
}

// In `block`: stop unless `bytes` are inside, and go on in a new block, where the builder then
// stands.
static LLVMBasicBlockRef checked_block(struct loads *l, LLVMBasicBlockRef block,
				       struct lv_extent extent, LLVMValueRef bytes, uint32_t site)
{
	struct lv *lv = l->lv;
	LLVMBasicBlockRef good = LLVMInsertBasicBlockInContext(lv->llvm, block, "");

	LLVMMoveBasicBlockAfter(good, block);
	LLVMPositionBuilderAtEnd(lv->builder, block);
	lv_require(lv, lv_inside(lv, extent, bytes), good, site);
	LLVMPositionBuilderAtEnd(lv->builder, good);
	return good;
}

static void mixed_load(struct loads *l, LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMTypeRef type = LLVMTypeOf(inst);
	LLVMValueRef pointer = LLVMGetOperand(inst, 0);
	LLVMValueRef bytes = lv_u64(lv, lv_size(lv, type));
	uint32_t site = lv_site(lv, inst);
	struct lv_extent extent = lv_extent(l->prov, pointer);
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);
	LLVMBasicBlockRef blocks[2];
	LLVMValueRef values[2];

	lv_split(lv, inst);
	branch_on_local(l, extent, tail, &blocks[0], &blocks[1]);

	LLVMPositionBuilderAtEnd(lv->builder, blocks[1]);
	values[1] = kernel_load(l, inst, NULL);
	LLVMBuildBr(lv->builder, tail);

	blocks[0] = checked_block(l, blocks[0], extent, bytes, site);
	values[0] = LLVMBuildLoad2(lv->builder, type, pointer, "");
	LLVMSetAlignment(values[0], LLVMGetAlignment(inst));
	LLVMBuildBr(lv->builder, tail);

	lv_before(lv, inst);
	LLVMValueRef phi = LLVMBuildPhi(lv->builder, type, "");

	LLVMAddIncoming(phi, values, blocks, 2);
	lv_replace(inst, phi);
}

static void lower_load(struct loads *l, LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMTypeRef type = LLVMTypeOf(inst);
	LLVMValueRef pointer = LLVMGetOperand(inst, 0);
	enum lv_origin origin = lv_origin(l->prov, pointer);
	uint64_t size = lv_size(lv, type);

	if (origin == LV_ORIGIN_LOCAL) {
		_cleanup_free_ char *words = lv_origin_words(l->prov, pointer);

		lv_note(lv, inst, GS_LOAD_LOCAL, size, words);
		lv_check(l->prov, lv, inst, pointer, lv_u64(lv, size), LV_CHECK_OPTIMIZED);
	} else if (origin == LV_ORIGIN_MIXED) {
		// Silently, what the inner table points to would be taken for addresses in the
		// kernel.
		if (LLVMGetTypeKind(type) == LLVMPointerTypeKind && lv_from_table(pointer))
			lv_error(
				lv, inst,
				"a table of pointers that another table points to cannot be followed");
		lv_note(lv, inst, GS_LOAD_MIXED, size, "local or kernel memory, known at run time");
		mixed_load(l, inst);
	} else {
		const struct lv_early *early = lv_early(l->overlap, inst, 0);

		lv_note(lv, inst, GS_LOAD_KERNEL, size, "kernel memory");
		lv_before(lv, inst);
		lv_replace(inst,
			   early ? early_load(l, type, early, inst) : kernel_load(l, inst, inst));
	}
}

static void lower_write(struct loads *l, LLVMValueRef inst, LLVMValueRef pointer,
			LLVMValueRef bytes)
{
	struct lv *lv = l->lv;
	uint64_t size = LLVMIsAConstantInt(bytes) ? LLVMConstIntGetZExtValue(bytes) : 0;

	// lv_bounds() has refused all others, unless LLVM lost track of one since.
	if (lv_origin(l->prov, pointer) != LV_ORIGIN_LOCAL) {
		lv_error(lv, inst, "cannot prove that this writes to the detector's own memory");
		return;
	}

	_cleanup_free_ char *words = lv_origin_words(l->prov, pointer);

	lv_note(lv, inst, GS_LOAD_STORE, size, words);
	lv_check(l->prov, lv, inst, pointer, bytes, LV_CHECK_OPTIMIZED);
}

static void mixed_transfer(struct loads *l, LLVMValueRef inst, LLVMValueRef bytes)
{
	struct lv *lv = l->lv;
	LLVMValueRef source = LLVMGetOperand(inst, 1);
	uint32_t site = lv_site(lv, inst);
	struct lv_extent extent = lv_extent(l->prov, source);
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);
	LLVMBasicBlockRef local, kernel;

	lv_split(lv, inst);
	branch_on_local(l, extent, tail, &local, &kernel);

	LLVMPositionBuilderAtEnd(lv->builder, kernel);
	lv_rt_copy(lv, l->fn, LLVMGetOperand(inst, 0),
		   LLVMBuildPtrToInt(lv->builder, source, lv->i64, ""), bytes);
	LLVMBuildBr(lv->builder, tail);

	checked_block(l, local, extent, bytes, site);
	LLVMInstructionRemoveFromParent(inst);
	LLVMInsertIntoBuilder(lv->builder, inst);
	LLVMBuildBr(lv->builder, tail);
}

static void lower_transfer(struct loads *l, LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	LLVMValueRef source = LLVMGetOperand(inst, 1);
	enum lv_origin origin = lv_origin(l->prov, source);

	lv_before(lv, inst);
	LLVMValueRef bytes =
		LLVMBuildIntCast2(lv->builder, LLVMGetOperand(inst, 2), lv->i64, false, "");
	uint64_t size = LLVMIsAConstantInt(bytes) ? LLVMConstIntGetZExtValue(bytes) : 0;

	lower_write(l, inst, LLVMGetOperand(inst, 0), bytes);
	if (origin == LV_ORIGIN_LOCAL) {
		_cleanup_free_ char *words = lv_origin_words(l->prov, source);

		lv_note(lv, inst, GS_LOAD_LOCAL, size, words);
		lv_check(l->prov, lv, inst, source, bytes, LV_CHECK_OPTIMIZED);
	} else if (origin == LV_ORIGIN_MIXED) {
		lv_note(lv, inst, GS_LOAD_MIXED, size, "local or kernel memory, known at run time");
		mixed_transfer(l, inst, bytes);
	} else {
		lv_note(lv, inst, GS_LOAD_COPY, size, "kernel memory");
		lv_before(lv, inst);

		const struct lv_early *early = lv_early(l->overlap, inst, 0);
		LLVMValueRef address = LLVMBuildPtrToInt(lv->builder, source, lv->i64, "");

		if (early)
			early_transfer(l, early, inst, address, bytes);
		else
			lv_rt_copy(lv, l->fn, LLVMGetOperand(inst, 0), address, bytes);
		LLVMInstructionEraseFromParent(inst);
	}
}

static void lower_access(struct loads *l, LLVMValueRef inst)
{
	struct lv *lv = l->lv;
	const char *callee = lv_callee(inst);
	LLVMValueRef value;

	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMLoad:
		lower_load(l, inst);
		break;
	case LLVMStore:
		value = LLVMGetOperand(inst, 0);
		lower_write(l, inst, LLVMGetOperand(inst, 1),
			    lv_u64(lv, lv_size(lv, LLVMTypeOf(value))));
		break;
	case LLVMAtomicRMW:
	case LLVMAtomicCmpXchg:
		value = LLVMGetOperand(inst, 1);
		lower_write(l, inst, LLVMGetOperand(inst, 0),
			    lv_u64(lv, lv_size(lv, LLVMTypeOf(value))));
		break;
	case LLVMCall:
		if (lv_starts(callee, "llvm.memcpy.") || lv_starts(callee, "llvm.memmove.")) {
			lower_transfer(l, inst);
		} else if (lv_starts(callee, "llvm.memset.")) {
			lv_before(lv, inst);
			value = LLVMBuildIntCast2(lv->builder, LLVMGetOperand(inst, 2), lv->i64,
						  false, "");
			lower_write(l, inst, LLVMGetOperand(inst, 0), value);
		} else if (lv_starts(callee, "gs.record")) {
			lv_record_lower(lv, l->prov, l->overlap, l->fn, inst);
		}
		break;
	default:
		break;
	}
}

void lv_loads(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		struct loads l = { .lv = lv, .fn = lv->detectors.v[d].function };
		_cleanup_values_ struct lv_values list = lv_instructions(l.fn);

		l.prov = lv_provenance_create(lv, l.fn);
		if (lv->options->overlap != LV_OVERLAP_NONE)
			l.overlap = lv_overlap_create(lv, l.prov, l.fn);
		for (size_t i = 0; i < list.count; i++)
			lower_access(&l, list.v[i]);
		lv_overlap_destroy(l.overlap);
		lv_provenance_destroy(l.prov);
	}
}
