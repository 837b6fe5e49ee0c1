// SPDX-License-Identifier: Apache-2.0
#include "accesses.h"

#include <limits.h>
#include <string.h>

#include "ir.h"
#include "overlap.h"

struct lv_block_facts {
	/** Nothing is moved across something in it. */
	bool blocks;
	/** It reads kernel memory. */
	bool reads;
};

struct lv_behind_facts {
	/** LV_REACH_* of each block; NULL: not asked yet. */
	unsigned char *reach;
	/** Whether something that blocks may come between. */
	unsigned char *blocked;
	/** The block comes again. */
	bool loops;
};

// --- what blocks ---

static bool moves_past_call(LLVMValueRef inst)
{
	// What the runtime does for these has no order towards the kernel's memory.
	static const char *const harmless[] = {
		"gs.slot",     "gs.param",    "gs.record",	    "gs.stop",
		"now_ns",      "run_count",   "thread_index",	    "thread_count",
		"block_index", "block_count", "block_thread_index", "block_thread_count",
		"ram_pages",   "ram_page",
	};
	const char *callee = lv_callee(inst);

	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		if (strcmp(callee, harmless[i]) == 0)
			return true;
	}
	if (lv_starts(callee, "llvm.memcpy.") || lv_starts(callee, "llvm.memmove.") ||
	    lv_starts(callee, "llvm.memset.")) {
		LLVMValueRef is_volatile = LLVMGetOperand(inst, 3);

		return LLVMIsAConstantInt(is_volatile) && !LLVMConstIntGetZExtValue(is_volatile);
	}
	return lv_starts(callee, "llvm.");
}

// READ_ONCE() orders, as do atomics and barriers.
static bool is_blocker(LLVMValueRef inst)
{
	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMLoad:
	case LLVMStore:
		return LLVMGetVolatile(inst) ||
		       LLVMGetOrdering(inst) != LLVMAtomicOrderingNotAtomic;
	case LLVMAtomicRMW:
	case LLVMAtomicCmpXchg:
	case LLVMFence:
		return true;
	case LLVMCall:
		return !moves_past_call(inst);
	default:
		return false;
	}
}

// --- collecting ---

static bool in_kernel(struct lv_accesses *a, LLVMValueRef pointer)
{
	return !(lv_origin(a->prov, pointer) & LV_ORIGIN_LOCAL);
}

static void add(struct lv_accesses *a, struct lv_kernel_access access, LLVMValueRef pointer)
{
	a->facts[access.block].reads = true;
	if (!lv_linear(&a->linears, pointer, &access.address) || !access.address.moving.count)
		return;
	lv_push(a->list, access);
}

static bool is_scalar(struct lv *lv, LLVMTypeRef type)
{
	switch (LLVMGetTypeKind(type)) {
	case LLVMPointerTypeKind:
	case LLVMFloatTypeKind:
	case LLVMDoubleTypeKind:
		return true;
	case LLVMIntegerTypeKind:
		return type == lv->i8 || type == lv->i16 || type == lv->i32 || type == lv->i64;
	default:
		return false;
	}
}

static void collect_load(struct lv_accesses *a, struct lv_kernel_access access)
{
	LLVMTypeRef type = LLVMTypeOf(access.inst);
	LLVMValueRef pointer = LLVMGetOperand(access.inst, 0);

	if (!in_kernel(a, pointer))
		return;
	a->facts[access.block].reads = true;
	if (is_blocker(access.inst) || !is_scalar(a->lv, type))
		return;
	access.size = lv_size(a->lv, type);
	add(a, access, pointer);
}

static void collect_words(struct lv_accesses *a, struct lv_kernel_access access,
			  LLVMValueRef pointer, LLVMValueRef size)
{
	if (!in_kernel(a, pointer))
		return;
	a->facts[access.block].reads = true;
	if (!LLVMIsAConstantInt(size))
		return;
	access.words = true;
	access.size = LLVMConstIntGetZExtValue(size);
	if (access.size && access.size <= LV_EARLY_BYTES)
		add(a, access, pointer);
}

static void collect_call(struct lv_accesses *a, struct lv_kernel_access access)
{
	LLVMValueRef inst = access.inst;
	const char *callee = lv_callee(inst);

	if (lv_starts(callee, "llvm.memcpy.") || lv_starts(callee, "llvm.memmove.")) {
		if (moves_past_call(inst))
			collect_words(a, access, LLVMGetOperand(inst, 1), LLVMGetOperand(inst, 2));
		else
			a->facts[access.block].reads = true;
	} else if (strcmp(callee, "gs.record") == 0) {
		unsigned int count = LLVMGetNumArgOperands(inst);

		for (unsigned int i = 0; i + 1 < count; i++) {
			access.operand = i + 1;
			if (LLVMGetTypeKind(LLVMTypeOf(LLVMGetOperand(inst, i + 1))) ==
			    LLVMPointerTypeKind)
				collect_words(a, access, LLVMGetOperand(inst, i + 1),
					      LLVMGetOperand(inst, i));
		}
	}
}

static void collect(struct lv_accesses *a)
{
	for (unsigned int b = 0; b < a->cfg->count; b++) {
		struct lv_kernel_access access = { .block = b };

		for (LLVMValueRef i = LLVMGetFirstInstruction(a->cfg->v[b].block); i;
		     i = LLVMGetNextInstruction(i), access.index++) {
			access.inst = i;
			a->facts[b].blocks |= is_blocker(i);
			if (LLVMIsALoadInst(i))
				collect_load(a, access);
			else if (LLVMIsACallInst(i))
				collect_call(a, access);
		}
	}
}

// --- how early ---

static void spread(struct lv_accesses *a, unsigned int start, struct lv_behind_facts *behind)
{
	LV_TABLE(unsigned int) work = {};

	for (unsigned int b = 0; b < a->cfg->count; b++) {
		const struct lv_block_facts *facts = &a->facts[b];
		unsigned char reach = behind->reach[b];

		// A loop that reads kernel memory takes long: what was read before it is old behind
		// it.
		if (b != start && reach & LV_REACHED &&
		    (facts->blocks || (facts->reads && reach & LV_REACH_REPEATED)))
			lv_push(work, b);
	}
	while (work.count) {
		const struct lv_block *block = &a->cfg->v[work.v[--work.count]];

		for (unsigned int s = 0; s < block->succ_count; s++) {
			unsigned int next = block->succ[s];

			if (next == start || behind->blocked[next])
				continue;
			behind->blocked[next] = 1;
			lv_push(work, next);
		}
	}
	free(work.v);
}

static const struct lv_behind_facts *behind(struct lv_accesses *a, unsigned int start)
{
	struct lv_behind_facts *facts = &a->behind[start];
	const struct lv_block *block = &a->cfg->v[start];

	if (facts->reach)
		return facts;
	facts->reach = lv_cfg_reach(a->cfg, start);
	facts->blocked = calloc(a->cfg->count, 1);
	if (!facts->blocked)
		lv_enomem();
	for (unsigned int s = 0; s < block->succ_count; s++)
		facts->loops |=
			block->succ[s] == start || facts->reach[block->succ[s]] & LV_REACH_RETURNS;
	spread(a, start, facts);
	return facts;
}

static bool blocked_between(LLVMValueRef from, LLVMValueRef to)
{
	for (LLVMValueRef i = from; i && i != to; i = LLVMGetNextInstruction(i)) {
		if (is_blocker(i))
			return true;
	}
	return false;
}

// Issued at `point`, the access would read what it does now: nothing that orders lies between, and
// it runs at most once before the point comes again.
static bool can_move(struct lv_accesses *a, const struct lv_kernel_access *access,
		     struct lv_point point)
{
	LLVMBasicBlockRef block = a->cfg->v[access->block].block;

	if (point.block == access->block)
		return !blocked_between(point.before, access->inst);
	if (blocked_between(point.before, NULL) ||
	    blocked_between(LLVMGetFirstInstruction(block), access->inst))
		return false;

	const struct lv_behind_facts *facts = behind(a, point.block);

	if (facts->blocked[access->block] || facts->reach[access->block] & LV_REACH_REPEATED)
		return false;
	// Not in a loop for the sake of what comes after it.
	return !facts->loops || facts->reach[access->block] & LV_REACH_RETURNS;
}

static bool is_null(LLVMValueRef value)
{
	return LLVMIsAConstantPointerNull(value);
}

// Settled when the detector is loaded, or whether a pointer is NULL, which is rare.
static bool is_expected(struct lv_accesses *a, LLVMValueRef condition, unsigned int depth)
{
	if (lv_settled(&a->linears, condition))
		return true;
	if (LLVMIsAICmpInst(condition))
		return is_null(LLVMGetOperand(condition, 0)) ||
		       is_null(LLVMGetOperand(condition, 1));
	if (!depth || !LLVMIsAInstruction(condition))
		return LLVMIsAConstant(condition);

	LLVMOpcode op = LLVMGetInstructionOpcode(condition);

	if (op != LLVMAnd && op != LLVMOr && op != LLVMXor && op != LLVMSelect)
		return false;
	for (int i = 0; i < LLVMGetNumOperands(condition); i++) {
		if (!is_expected(a, LLVMGetOperand(condition, i), depth - 1))
			return false;
	}
	return true;
}

// Whether `block` goes on depends on nothing, or on no more than the loop of `start` going on.
static bool goes_on(struct lv_accesses *a, unsigned int start, unsigned int block)
{
	LLVMValueRef terminator = LLVMGetBasicBlockTerminator(a->cfg->v[block].block);
	const struct lv_behind_facts *facts = behind(a, start);
	bool stays = false, leaves = false;

	if (LLVMIsABranchInst(terminator) &&
	    (!LLVMIsConditional(terminator) || is_expected(a, LLVMGetCondition(terminator), 4)))
		return true;
	for (unsigned int s = 0; s < a->cfg->v[block].succ_count; s++) {
		unsigned int next = a->cfg->v[block].succ[s];

		if (next == start || facts->reach[next] & LV_REACH_RETURNS)
			stays = true;
		else
			leaves = true;
	}
	return stays && leaves;
}

static unsigned int conditions(struct lv_accesses *a, unsigned int start, unsigned int block)
{
	unsigned int count = 0, at = block;

	while (block != start) {
		unsigned int above = a->cfg->v[block].idom;

		if (!lv_cfg_postdominates(a->cfg, at, above)) {
			count += !goes_on(a, start, above);
			at = above;
		}
		block = above;
	}
	return count;
}

static LLVMValueRef first_after_phis(LLVMBasicBlockRef block)
{
	LLVMValueRef inst = LLVMGetFirstInstruction(block);

	while (LLVMIsAPHINode(inst))
		inst = LLVMGetNextInstruction(inst);
	return inst;
}

static bool comes_before(LLVMValueRef a, LLVMValueRef b)
{
	while (a && a != b)
		a = LLVMGetNextInstruction(a);
	return a;
}

// Where everything that the address moves by is known.
static struct lv_point known_at(struct lv_accesses *a, const struct lv_linear *address)
{
	struct lv_point point = {};

	for (unsigned int i = 0; i < address->moving.count; i++) {
		LLVMValueRef value = address->moving.v[i].value;
		LLVMBasicBlockRef parent = LLVMGetInstructionParent(value);
		unsigned int block = lv_cfg_number(a->cfg, parent);
		LLVMValueRef before = LLVMIsAPHINode(value) ? first_after_phis(parent)
							    : LLVMGetNextInstruction(value);

		if (!point.before ||
		    (block != point.block && lv_cfg_dominates(a->cfg, point.block, block)) ||
		    (block == point.block && comes_before(point.before, before)))
			point = (struct lv_point){ before, block };
	}
	return point;
}

// The first point from `point` on, in its block, where the access can be issued.
static bool try_block(struct lv_accesses *a, struct lv_kernel_access *access, struct lv_point point)
{
	for (;;) {
		if (can_move(a, access, point)) {
			unsigned int count = conditions(a, point.block, access->block);

			if (count > (access->words ? 0 : LV_CONDITIONS))
				return false;
			access->point = point;
			access->conditions = count;
			return true;
		}
		while (point.before && point.before != access->inst && !is_blocker(point.before))
			point.before = LLVMGetNextInstruction(point.before);
		if (!point.before || point.before == access->inst)
			return false;
		point.before = LLVMGetNextInstruction(point.before);
		if (!point.before)
			return false;
	}
}

static void find_point(struct lv_accesses *a, struct lv_kernel_access *access)
{
	struct lv_point known = known_at(a, &access->address);
	LV_TABLE(unsigned int) chain = {};

	for (unsigned int b = access->block; b != known.block; b = a->cfg->v[b].idom)
		lv_push(chain, b);
	if (!try_block(a, access, known)) {
		for (size_t i = chain.count; i-- > 0;) {
			struct lv_point point = { .block = chain.v[i] };

			point.before = first_after_phis(a->cfg->v[point.block].block);
			if (try_block(a, access, point))
				break;
		}
	}
	free(chain.v);
}

struct lv_accesses *lv_accesses_create(struct lv *lv, struct lv_provenance *prov, LLVMValueRef fn)
{
	struct lv_accesses *a = calloc(1, sizeof(*a));

	if (!a)
		lv_enomem();
	a->lv = lv;
	a->prov = prov;
	a->cfg = lv_cfg_create(fn);
	a->linears.lv = lv;
	a->linears.start = LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(fn));
	a->facts = calloc(a->cfg->count, sizeof(*a->facts));
	a->behind = calloc(a->cfg->count, sizeof(*a->behind));
	if (!a->facts || !a->behind)
		lv_enomem();
	collect(a);
	for (size_t i = 0; i < a->list.count; i++)
		find_point(a, &a->list.v[i]);
	return a;
}

void lv_accesses_destroy(struct lv_accesses *a)
{
	for (unsigned int i = 0; i < a->cfg->count; i++) {
		free(a->behind[i].reach);
		free(a->behind[i].blocked);
	}
	free(a->behind);
	free(a->facts);
	free(a->list.v);
	free(a->linears.values.entries);
	lv_cfg_destroy(a->cfg);
	free(a);
}

bool lv_access_follows(struct lv_accesses *a, const struct lv_kernel_access *x,
		       const struct lv_kernel_access *y, unsigned int start)
{
	if (x->block == y->block)
		return x->index <= y->index;
	if (y->block == start)
		return false;
	if (x->block == start)
		return true;

	LV_TABLE(unsigned int) work = {};
	_cleanup_free_ unsigned char *seen = calloc(a->cfg->count, 1);
	bool found = false;

	if (!seen)
		lv_enomem();
	lv_push(work, x->block);
	while (work.count && !found) {
		const struct lv_block *block = &a->cfg->v[work.v[--work.count]];

		for (unsigned int s = 0; s < block->succ_count; s++) {
			unsigned int next = block->succ[s];

			found |= next == y->block;
			if (next == start || seen[next])
				continue;
			seen[next] = 1;
			lv_push(work, next);
		}
	}
	free(work.v);
	return found;
}
