// SPDX-License-Identifier: Apache-2.0
// Rows, findings and metrics after optimisation.
//
// Of most records it is known how many bytes they take at most. Such a record is opened with one check for room, its
// items are stores at an address that stays in a register, and what the runtime must know of it is written when it
// is closed. One that may be longer is built by the runtime, item by item.
#include <string.h>

#include <gpusentinel/record.h>

#include "ir.h"
#include "overlap.h"
#include "records.h"
#include "runtime.h"

// Bytes of a record that is opened with room for all of it.
enum { BOUNDED_MAX = 1024 };

// gs.record(kind, severity, format, count, {max, value}...)
enum { KIND, SEVERITY, FORMAT, COUNT, FIXED };

struct record {
	struct lv *lv;
	LLVMValueRef fn, call;
	/** Variable: the address of the next item; NULL if the runtime builds the record. */
	LLVMValueRef at;
};

static LLVMValueRef new_variable(const struct record *r, LLVMTypeRef type)
{
	LLVMValueRef first = LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(r->fn));
	LLVMBuilderRef builder = LLVMCreateBuilderInContext(r->lv->llvm);

	LLVMPositionBuilderBefore(builder, first);
	LLVMValueRef variable = LLVMBuildAlloca(builder, type, "");

	LLVMSetAlignment(variable, 8);
	LLVMDisposeBuilder(builder);
	return variable;
}

// --- items ---

static LLVMValueRef next_item(const struct record *r)
{
	return LLVMBuildLoad2(r->lv->builder, r->lv->i64, r->at, "");
}

static void put_number(const struct record *r, LLVMValueRef value)
{
	struct lv *lv = r->lv;

	if (!r->at) {
		lv_rt(lv, r->fn, "arg", lv->void_type, &value, 1);
		return;
	}

	LLVMValueRef at = next_item(r);
	LLVMValueRef to = LLVMBuildIntToPtr(lv->builder, at, lv->ptr, "");

	LLVMSetAlignment(LLVMBuildStore(lv->builder, value, to), 8);
	LLVMBuildStore(lv->builder, LLVMBuildAdd(lv->builder, at, lv_u64(lv, 8), ""), r->at);
}

// @from: a pointer if it is local, an address if not.
static void put_string(const struct record *r, bool local, LLVMValueRef from, LLVMValueRef max)
{
	struct lv *lv = r->lv;

	if (!r->at) {
		LLVMValueRef args[] = { from, max };

		lv_rt(lv, r->fn, local ? "arg_str_local" : "arg_str", lv->void_type, args, 2);
		return;
	}

	LLVMValueRef args[] = { next_item(r), from, max };

	LLVMBuildStore(lv->builder,
		       lv_rt(lv, r->fn, local ? "put_str_local" : "put_str", lv->i64, args, 3),
		       r->at);
}

// At most `max` bytes, and not beyond the object's end.
static void put_local_string(const struct record *r, LLVMValueRef pointer, LLVMValueRef max,
			     struct lv_extent extent)
{
	struct lv *lv = r->lv;
	LLVMBuilderRef b = lv->builder;
	LLVMValueRef inside = LLVMBuildICmp(b, LLVMIntULE, extent.offset, extent.size, "");
	LLVMValueRef room = LLVMBuildSub(b, extent.size, extent.offset, "");

	room = LLVMBuildSelect(b, inside, room, lv_u64(lv, 0), "");

	LLVMValueRef less = LLVMBuildICmp(b, LLVMIntULT, room, max, "");

	put_string(r, true, pointer, LLVMBuildSelect(b, less, room, max, ""));
}

static void put_kernel_string(const struct record *r, LLVMValueRef pointer, LLVMValueRef max)
{
	put_string(r, false, LLVMBuildPtrToInt(r->lv->builder, pointer, r->lv->i64, ""), max);
}

// From words that were read early, if they could be.
static void put_early_string(const struct record *r, LLVMValueRef pointer, LLVMValueRef max,
			     const struct lv_early *early)
{
	struct lv *lv = r->lv;
	LLVMBuilderRef b = lv->builder;
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(r->call);
	LLVMBasicBlockRef blocks[2];
	LLVMValueRef text = new_variable(r, LLVMArrayType2(lv->i64, LV_EARLY_BYTES / 8));

	lv_early_branch(lv, early, r->call, blocks);
	put_kernel_string(r, pointer, max);
	LLVMBuildBr(b, tail);

	LLVMPositionBuilderAtEnd(b, blocks[0]);
	LLVMValueRef address = LLVMBuildPtrToInt(b, pointer, lv->i64, "");

	lv_early_store(lv, early, address, LLVMConstIntGetZExtValue(max), text, 8);
	if (r->at) {
		LLVMValueRef args[] = { next_item(r), text, max };

		LLVMBuildStore(b, lv_rt(lv, r->fn, "put_words", lv->i64, args, 3), r->at);
	} else {
		put_string(r, true, text, max);
	}
	LLVMBuildBr(b, tail);
}

static void put_any_string(const struct record *r, struct lv_provenance *prov, LLVMValueRef pointer,
			   LLVMValueRef max, const struct lv_early *early)
{
	struct lv *lv = r->lv;
	enum lv_origin origin = lv_origin(prov, pointer);

	if (early) {
		put_early_string(r, pointer, max, early);
		return;
	}
	if (origin == LV_ORIGIN_KERNEL || origin == LV_ORIGIN_NONE) {
		put_kernel_string(r, pointer, max);
		return;
	}

	struct lv_extent extent = lv_extent(prov, pointer);

	lv_before(lv, r->call);
	if (origin == LV_ORIGIN_LOCAL) {
		put_local_string(r, pointer, max, extent);
		return;
	}

	LLVMBasicBlockRef tail = LLVMGetInstructionParent(r->call);

	lv_split(lv, r->call);

	LLVMBasicBlockRef local = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");
	LLVMBasicBlockRef kernel = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");
	LLVMValueRef is_local =
		LLVMBuildICmp(lv->builder, LLVMIntNE, extent.size, lv_u64(lv, 0), "");

	LLVMBuildCondBr(lv->builder, is_local, local, kernel);
	LLVMPositionBuilderAtEnd(lv->builder, local);
	put_local_string(r, pointer, max, extent);
	LLVMBuildBr(lv->builder, tail);
	LLVMPositionBuilderAtEnd(lv->builder, kernel);
	put_kernel_string(r, pointer, max);
	LLVMBuildBr(lv->builder, tail);
	lv_before(lv, r->call);
}

// --- the record ---

// Bytes that it takes at most.
static uint64_t bound(LLVMValueRef call)
{
	unsigned int count = LLVMGetNumArgOperands(call);
	uint64_t size = sizeof(struct gs_record_header);

	for (unsigned int i = FIXED; i + 1 < count; i += 2)
		size += 8 +
			((LLVMConstIntGetZExtValue(LLVMGetOperand(call, i)) + 7) & ~UINT64_C(7));
	return size;
}

// What follows stands in a block of its own, which is left out if there is no room.
static void open_record(struct record *r, uint64_t size)
{
	struct lv *lv = r->lv;
	LLVMValueRef bytes = lv_u32(lv, (uint32_t)size);
	LLVMValueRef next = LLVMGetNextInstruction(r->call);
	LLVMBasicBlockRef behind = LLVMGetInstructionParent(next);

	r->at = new_variable(r, lv->i64);
	lv_split(lv, next);
	LLVMBuildBr(lv->builder, behind);

	LLVMBasicBlockRef items = LLVMGetInstructionParent(r->call);

	lv_split(lv, r->call);
	LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(r->call));

	LLVMValueRef at = lv_rt(lv, r->fn, "open", lv->i64, &bytes, 1);
	LLVMValueRef room = LLVMBuildICmp(lv->builder, LLVMIntNE, at, lv_u64(lv, 0), "");

	LLVMBuildStore(lv->builder, at, r->at);
	LLVMBuildCondBr(lv->builder, room, items, behind);
}

static void close_record(const struct record *r)
{
	struct lv *lv = r->lv;
	LLVMBuilderRef b = lv->builder;
	LLVMValueRef count = LLVMGetOperand(r->call, COUNT);
	LLVMValueRef words[FIXED];

	for (unsigned int i = 0; i < FIXED; i++)
		words[i] = LLVMBuildZExt(b, LLVMGetOperand(r->call, i), lv->i64, "");
	if (LLVMConstIntGetZExtValue(count))
		words[KIND] = LLVMBuildOr(b, words[KIND],
					  lv_u64(lv, LLVMConstIntGetZExtValue(count) << 16), "");
	words[SEVERITY] = LLVMBuildShl(b, LLVMBuildAnd(b, words[SEVERITY], lv_u64(lv, 0xffff), ""),
				       lv_u64(lv, 32), "");

	LLVMValueRef args[] = { next_item(r), words[KIND],
				LLVMBuildOr(b, words[FORMAT], words[SEVERITY], "") };

	lv_rt(lv, r->fn, "close", lv->void_type, args, 3);
}

void lv_record_lower(struct lv *lv, struct lv_provenance *prov, const struct lv_overlap *overlap,
		     LLVMValueRef fn, LLVMValueRef call)
{
	struct record r = { .lv = lv, .fn = fn, .call = call };
	LLVMValueRef head[FIXED];
	unsigned int count = LLVMGetNumArgOperands(call);
	uint64_t size = bound(call);

	for (unsigned int i = 0; i < FIXED; i++)
		head[i] = LLVMGetOperand(call, i);
	lv_before(lv, call);
	if (size <= BOUNDED_MAX)
		open_record(&r, size);
	else
		lv_rt(lv, fn, "begin", lv->void_type, head, FIXED);
	for (unsigned int i = FIXED; i + 1 < count; i += 2) {
		LLVMValueRef max = LLVMGetOperand(call, i);
		LLVMValueRef value = LLVMGetOperand(call, i + 1);

		lv_before(lv, call);
		if (LLVMConstIntGetZExtValue(max))
			put_any_string(&r, prov, value, max, lv_early(overlap, call, i + 1));
		else
			put_number(&r, value);
	}
	lv_before(lv, call);
	if (r.at)
		close_record(&r);
	else
		lv_rt(lv, fn, "end", lv->void_type, NULL, 0);
	LLVMInstructionEraseFromParent(call);
}
