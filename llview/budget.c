// SPDX-License-Identifier: Apache-2.0
#include "diag.h"
#include "ir.h"
#include "ptrmap.h"
#include "runtime.h"

// A depth-first walk over the blocks; an edge to a block that is still being visited closes a loop.
// Every cycle, reducible or not, has such an edge.

enum visit { UNSEEN, OPEN, DONE };

struct edge {
	LLVMBasicBlockRef from, to;
};

struct edges {
	struct edge *v;
	size_t count, capacity;
};

struct frame {
	LLVMBasicBlockRef block;
	unsigned int next;
};

static bool has_edge(const struct edges *edges, struct edge edge)
{
	for (size_t i = 0; i < edges->count; i++) {
		if (edges->v[i].from == edge.from && edges->v[i].to == edge.to)
			return true;
	}
	return false;
}

static void find_back_edges(LLVMValueRef fn, struct edges *edges)
{
	struct lv_ptrmap visits = {};
	LV_TABLE(struct frame) stack = {};
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(fn);

	lv_push(stack, ((struct frame){ .block = entry }));
	lv_ptrmap_add(&visits, entry)->number = OPEN;

	while (stack.count) {
		struct frame *frame = &stack.v[stack.count - 1];
		LLVMValueRef terminator = LLVMGetBasicBlockTerminator(frame->block);

		if (frame->next >= LLVMGetNumSuccessors(terminator)) {
			lv_ptrmap_add(&visits, frame->block)->number = DONE;
			stack.count--;
			continue;
		}

		LLVMBasicBlockRef next = LLVMGetSuccessor(terminator, frame->next++);
		unsigned int seen = lv_ptrmap_add(&visits, next)->number;

		if (seen == OPEN) {
			struct edge edge = { frame->block, next };

			if (!has_edge(edges, edge))
				lv_push(*edges, edge);
		} else if (seen == UNSEEN) {
			lv_ptrmap_add(&visits, next)->number = OPEN;
			lv_push(stack, ((struct frame){ .block = next }));
		}
	}
	free(stack.v);
	free(visits.entries);
}

// The phis of `block` have `from` as a predecessor, perhaps several times; make it `to`, once.
// LLVM-C cannot change an incoming block, hence each is built anew.
static void retarget_phis(struct lv *lv, LLVMBasicBlockRef block, LLVMBasicBlockRef from,
			  LLVMBasicBlockRef to)
{
	LLVMValueRef next;

	for (LLVMValueRef phi = LLVMGetFirstInstruction(block); LLVMIsAPHINode(phi); phi = next) {
		bool done = false;

		next = LLVMGetNextInstruction(phi);
		lv_before(lv, phi);

		LLVMValueRef fresh = LLVMBuildPhi(lv->builder, LLVMTypeOf(phi), "");

		for (unsigned int i = 0; i < LLVMCountIncoming(phi); i++) {
			LLVMValueRef value = LLVMGetIncomingValue(phi, i);
			LLVMBasicBlockRef incoming = LLVMGetIncomingBlock(phi, i);

			if (incoming == from) {
				if (done)
					continue;
				incoming = to;
				done = true;
			}
			LLVMAddIncoming(fresh, &value, &incoming, 1);
		}
		lv_replace(phi, fresh);
	}
}

static void count_edge(struct lv *lv, LLVMValueRef fn, const struct edge *edge)
{
	LLVMValueRef terminator = LLVMGetBasicBlockTerminator(edge->from);
	LLVMValueRef site = lv_u32(lv, lv_site(lv, terminator));
	LLVMBasicBlockRef check = LLVMInsertBasicBlockInContext(lv->llvm, edge->to, "");
	LLVMBasicBlockRef leave = LLVMInsertBasicBlockInContext(lv->llvm, edge->to, "");

	LLVMMoveBasicBlockAfter(check, edge->from);
	LLVMMoveBasicBlockAfter(leave, check);
	retarget_phis(lv, edge->to, edge->from, check);
	for (unsigned int s = 0; s < LLVMGetNumSuccessors(terminator); s++) {
		if (LLVMGetSuccessor(terminator, s) == edge->to)
			LLVMSetSuccessor(terminator, s, check);
	}

	LLVMPositionBuilderAtEnd(lv->builder, check);
	LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(terminator));
	LLVMBuildCondBr(lv->builder, lv_rt(lv, fn, "edge", lv->i1, &site, 1), edge->to, leave);
	LLVMPositionBuilderAtEnd(lv->builder, leave);
	LLVMBuildRetVoid(lv->builder);
}

void lv_budget(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		LLVMValueRef fn = lv->detectors.v[d].function;
		struct edges edges = {};

		find_back_edges(fn, &edges);
		for (size_t i = 0; i < edges.count; i++)
			count_edge(lv, fn, &edges.v[i]);
		free(edges.v);
	}
}
