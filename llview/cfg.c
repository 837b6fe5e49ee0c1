// SPDX-License-Identifier: Apache-2.0
#include "cfg.h"

#include <limits.h>

struct frame {
	unsigned int block, next;
};

static void *zeroes(size_t count, size_t size)
{
	void *p = calloc(count + 1, size);

	if (!p)
		lv_enomem();
	return p;
}

// --- blocks ---

static bool add_once(unsigned int *list, unsigned int *count, unsigned int number)
{
	for (unsigned int i = 0; i < *count; i++) {
		if (list[i] == number)
			return false;
	}
	list[(*count)++] = number;
	return true;
}

// Blocks that can be reached, in postorder.
static LLVMBasicBlockRef *postorder(LLVMValueRef fn, unsigned int *ret_count)
{
	LLVMBasicBlockRef *order = zeroes(LLVMCountBasicBlocks(fn), sizeof(LLVMBasicBlockRef));
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(fn);
	LV_TABLE(struct {
		LLVMBasicBlockRef block;
		unsigned int next;
	})
	stack = {};
	struct lv_ptrmap seen = {};
	unsigned int count = 0;

	lv_push(stack, ((typeof(*stack.v)){ .block = entry }));
	lv_ptrmap_add(&seen, entry);
	while (stack.count) {
		typeof(stack.v) top = &stack.v[stack.count - 1];
		LLVMValueRef terminator = LLVMGetBasicBlockTerminator(top->block);

		if (top->next >= LLVMGetNumSuccessors(terminator)) {
			order[count++] = top->block;
			stack.count--;
			continue;
		}

		LLVMBasicBlockRef next = LLVMGetSuccessor(terminator, top->next++);

		if (lv_ptrmap_find(&seen, next))
			continue;
		lv_ptrmap_add(&seen, next);
		lv_push(stack, ((typeof(*stack.v)){ .block = next }));
	}
	free(stack.v);
	free(seen.entries);
	*ret_count = count;
	return order;
}

static void connect(struct lv_cfg *cfg)
{
	for (unsigned int i = 0; i < cfg->count; i++) {
		struct lv_block *block = &cfg->v[i];
		LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block->block);
		unsigned int count = LLVMGetNumSuccessors(terminator);

		block->succ = zeroes(count, sizeof(*block->succ));
		for (unsigned int s = 0; s < count; s++) {
			unsigned int to = lv_cfg_number(cfg, LLVMGetSuccessor(terminator, s));

			if (add_once(block->succ, &block->succ_count, to))
				cfg->v[to].pred_count++;
		}
	}
	for (unsigned int i = 0; i < cfg->count; i++) {
		cfg->v[i].pred = zeroes(cfg->v[i].pred_count, sizeof(*cfg->v[i].pred));
		cfg->v[i].pred_count = 0;
	}
	for (unsigned int i = 0; i < cfg->count; i++) {
		for (unsigned int s = 0; s < cfg->v[i].succ_count; s++) {
			struct lv_block *to = &cfg->v[cfg->v[i].succ[s]];

			to->pred[to->pred_count++] = i;
		}
	}
}

// --- dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001) ---

static unsigned int common_dominator(const struct lv_cfg *cfg, unsigned int a, unsigned int b)
{
	while (a != b) {
		while (a > b)
			a = cfg->v[a].idom;
		while (b > a)
			b = cfg->v[b].idom;
	}
	return a;
}

static void find_dominators(struct lv_cfg *cfg)
{
	bool changed = true;

	for (unsigned int i = 1; i < cfg->count; i++)
		cfg->v[i].idom = LV_NO_BLOCK;
	while (changed) {
		changed = false;
		for (unsigned int i = 1; i < cfg->count; i++) {
			unsigned int idom = LV_NO_BLOCK;

			for (unsigned int p = 0; p < cfg->v[i].pred_count; p++) {
				unsigned int pred = cfg->v[i].pred[p];

				if (cfg->v[pred].idom == LV_NO_BLOCK)
					continue;
				idom = idom == LV_NO_BLOCK ? pred
							   : common_dominator(cfg, pred, idom);
			}
			changed |= idom != cfg->v[i].idom;
			cfg->v[i].idom = idom;
		}
	}
}

// The same over the reversed edges, from a block of its own (number `count`) that all returns lead
// to. `order`: the numbers that blocks have there, in reverse postorder; the root's is 0.
struct reversed {
	const struct lv_cfg *cfg;
	unsigned int *order, *number, *idom, count;
};

static void visit_reversed(struct reversed *r, unsigned int root)
{
	unsigned char *seen = zeroes(r->cfg->count, 1);
	LV_TABLE(struct frame) stack = {};

	// Postorder, the root last; turned round by the caller.
	lv_push(stack, ((struct frame){ .block = root }));
	seen[root] = 1;
	while (stack.count) {
		struct frame *top = &stack.v[stack.count - 1];
		const struct lv_block *block = &r->cfg->v[top->block];

		if (top->next >= block->pred_count) {
			r->order[r->count++] = top->block;
			stack.count--;
			continue;
		}

		unsigned int next = block->pred[top->next++];

		if (r->cfg->v[next].ends && !seen[next]) {
			seen[next] = 1;
			lv_push(stack, ((struct frame){ .block = next }));
		}
	}
	free(stack.v);
	free(seen);
}

static bool returns(const struct lv_block *block)
{
	return LLVMIsAReturnInst(LLVMGetBasicBlockTerminator(block->block));
}

static void find_ends(struct lv_cfg *cfg)
{
	bool changed = true;

	for (unsigned int i = 0; i < cfg->count; i++)
		cfg->v[i].ends = returns(&cfg->v[i]);
	while (changed) {
		changed = false;
		for (unsigned int i = cfg->count; i-- > 0;) {
			for (unsigned int s = 0; !cfg->v[i].ends && s < cfg->v[i].succ_count; s++)
				changed |= cfg->v[i].ends = cfg->v[cfg->v[i].succ[s]].ends;
		}
	}
}

static unsigned int common_reversed(const struct reversed *r, unsigned int a, unsigned int b)
{
	while (a != b) {
		while (r->number[a] > r->number[b])
			a = r->idom[a];
		while (r->number[b] > r->number[a])
			b = r->idom[b];
	}
	return a;
}

static void settle_reversed(struct reversed *r, unsigned int root)
{
	bool changed = true;

	for (unsigned int i = 0; i <= r->cfg->count; i++)
		r->idom[i] = LV_NO_BLOCK;
	r->idom[root] = root;
	while (changed) {
		changed = false;
		for (unsigned int o = 0; o < r->count; o++) {
			unsigned int i = r->order[o], idom = LV_NO_BLOCK;
			const struct lv_block *block = &r->cfg->v[i];

			if (i == root)
				continue;
			for (unsigned int s = 0; s < block->succ_count; s++) {
				unsigned int succ = block->succ[s];

				if (!r->cfg->v[succ].ends || r->idom[succ] == LV_NO_BLOCK)
					continue;
				idom = idom == LV_NO_BLOCK ? succ : common_reversed(r, succ, idom);
			}
			changed |= idom != r->idom[i];
			r->idom[i] = idom;
		}
	}
}

// LLVM merges the returns of a function before this stage; with several of them there is no single
// last block, and nothing is said to post-dominate.
static void find_postdominators(struct lv_cfg *cfg)
{
	unsigned int root = LV_NO_BLOCK;

	find_ends(cfg);
	for (unsigned int i = 0; i < cfg->count; i++) {
		cfg->v[i].ipdom = LV_NO_BLOCK;
		if (returns(&cfg->v[i]))
			root = root == LV_NO_BLOCK ? i : cfg->count;
	}
	if (root >= cfg->count)
		return;

	struct reversed r = {
		.cfg = cfg,
		.order = zeroes(cfg->count, sizeof(unsigned int)),
		.number = zeroes(cfg->count, sizeof(unsigned int)),
		.idom = zeroes(cfg->count, sizeof(unsigned int)),
	};

	visit_reversed(&r, root);
	for (unsigned int i = 0; i < r.count / 2; i++) {
		unsigned int other = r.order[r.count - 1 - i];

		r.order[r.count - 1 - i] = r.order[i];
		r.order[i] = other;
	}
	for (unsigned int i = 0; i < r.count; i++)
		r.number[r.order[i]] = i;
	settle_reversed(&r, root);
	for (unsigned int i = 0; i < cfg->count; i++)
		cfg->v[i].ipdom = i == root ? LV_NO_BLOCK : r.idom[i];
	free(r.order);
	free(r.number);
	free(r.idom);
}

struct lv_cfg *lv_cfg_create(LLVMValueRef fn)
{
	struct lv_cfg *cfg = zeroes(1, sizeof(*cfg));
	_cleanup_free_ LLVMBasicBlockRef *order = postorder(fn, &cfg->count);

	cfg->v = zeroes(cfg->count, sizeof(*cfg->v));
	for (unsigned int i = 0; i < cfg->count; i++) {
		cfg->v[i].block = order[cfg->count - 1 - i];
		lv_ptrmap_add(&cfg->numbers, cfg->v[i].block)->number = i;
	}
	connect(cfg);
	find_dominators(cfg);
	find_postdominators(cfg);
	return cfg;
}

void lv_cfg_destroy(struct lv_cfg *cfg)
{
	for (unsigned int i = 0; i < cfg->count; i++) {
		free(cfg->v[i].succ);
		free(cfg->v[i].pred);
	}
	free(cfg->v);
	free(cfg->numbers.entries);
	free(cfg);
}

unsigned int lv_cfg_number(const struct lv_cfg *cfg, LLVMBasicBlockRef block)
{
	struct lv_ptrmap_entry *entry = lv_ptrmap_find(&cfg->numbers, block);

	return entry ? entry->number : LV_NO_BLOCK;
}

bool lv_cfg_dominates(const struct lv_cfg *cfg, unsigned int a, unsigned int b)
{
	while (b > a)
		b = cfg->v[b].idom;
	return a == b;
}

bool lv_cfg_postdominates(const struct lv_cfg *cfg, unsigned int a, unsigned int b)
{
	while (b != a && b != LV_NO_BLOCK)
		b = cfg->v[b].ipdom;
	return b == a;
}

// --- what comes behind a block ---

static void mark_reached(const struct lv_cfg *cfg, unsigned int start, unsigned char *marks)
{
	LV_TABLE(unsigned int) work = {};

	lv_push(work, start);
	while (work.count) {
		const struct lv_block *block = &cfg->v[work.v[--work.count]];

		for (unsigned int s = 0; s < block->succ_count; s++) {
			unsigned int next = block->succ[s];

			if (next == start || marks[next] & LV_REACHED)
				continue;
			marks[next] |= LV_REACHED;
			lv_push(work, next);
		}
	}
	free(work.v);
}

static void mark_returns(const struct lv_cfg *cfg, unsigned int start, unsigned char *marks)
{
	LV_TABLE(unsigned int) work = {};

	lv_push(work, start);
	while (work.count) {
		const struct lv_block *block = &cfg->v[work.v[--work.count]];

		for (unsigned int p = 0; p < block->pred_count; p++) {
			unsigned int from = block->pred[p];

			if (from == start || marks[from] & LV_REACH_RETURNS)
				continue;
			marks[from] |= LV_REACH_RETURNS;
			lv_push(work, from);
		}
	}
	free(work.v);
}

// Strongly connected components of what is reached without the start (Tarjan): a component of
// several blocks, or a block that leads to itself, is a loop.
struct tarjan {
	const struct lv_cfg *cfg;
	unsigned int start, next, *index, *low;
	unsigned char *marks, *open;
	LV_TABLE(struct frame) frames;
	LV_TABLE(unsigned int) stack;
};

static void close_component(struct tarjan *t, unsigned int head)
{
	size_t first = t->stack.count;

	while (t->stack.v[--first] != head)
		;

	bool loop = t->stack.count - first > 1;

	for (unsigned int s = 0; !loop && s < t->cfg->v[head].succ_count; s++)
		loop = t->cfg->v[head].succ[s] == head;
	for (size_t i = first; i < t->stack.count; i++) {
		t->open[t->stack.v[i]] = 0;
		if (loop)
			t->marks[t->stack.v[i]] |= LV_REACH_REPEATED;
	}
	t->stack.count = first;
}

static void enter(struct tarjan *t, unsigned int block)
{
	t->index[block] = t->low[block] = ++t->next;
	t->open[block] = 1;
	lv_push(t->stack, block);
	lv_push(t->frames, ((struct frame){ .block = block }));
}

static void tarjan_from(struct tarjan *t, unsigned int root)
{
	enter(t, root);
	while (t->frames.count) {
		struct frame *top = &t->frames.v[t->frames.count - 1];
		unsigned int block = top->block;

		if (top->next < t->cfg->v[block].succ_count) {
			unsigned int next = t->cfg->v[block].succ[top->next++];

			if (next == t->start)
				continue;
			if (!t->index[next])
				enter(t, next);
			else if (t->open[next] && t->index[next] < t->low[block])
				t->low[block] = t->index[next];
			continue;
		}
		if (t->low[block] == t->index[block])
			close_component(t, block);
		t->frames.count--;
		if (t->frames.count) {
			unsigned int parent = t->frames.v[t->frames.count - 1].block;

			if (t->low[block] < t->low[parent])
				t->low[parent] = t->low[block];
		}
	}
}

unsigned char *lv_cfg_reach(const struct lv_cfg *cfg, unsigned int start)
{
	struct tarjan t = {
		.cfg = cfg,
		.start = start,
		.index = zeroes(cfg->count, sizeof(unsigned int)),
		.low = zeroes(cfg->count, sizeof(unsigned int)),
		.marks = zeroes(cfg->count, 1),
		.open = zeroes(cfg->count, 1),
	};

	mark_reached(cfg, start, t.marks);
	mark_returns(cfg, start, t.marks);
	for (unsigned int i = 0; i < cfg->count; i++) {
		if (t.marks[i] & LV_REACHED && !t.index[i])
			tarjan_from(&t, i);
	}
	free(t.index);
	free(t.low);
	free(t.open);
	free(t.frames.v);
	free(t.stack.v);
	return t.marks;
}
