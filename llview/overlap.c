// SPDX-License-Identifier: Apache-2.0
#include "overlap.h"

#include <string.h>

#include "accesses.h"
#include "ir.h"
#include "runtime.h"

// Registers are what a read costs until it is used.
enum { MAX_READS = 16 };

struct member {
	struct lv_kernel_access *access;
	/** Index of what is read for it; members that never run both share it. */
	size_t early;
};

struct group {
	struct lv_point point;
	const struct lv_sum *moving;
	unsigned int reads;
	LV_TABLE(struct member) members;
	LV_TABLE(struct lv_early) early;
};

struct lv_overlap {
	struct lv *lv;
	LLVMValueRef fn;
	struct lv_accesses *accesses;
	LV_TABLE(struct group) groups;
};

// --- which ---

// Copies and strings are read by units of 16 bytes: two loads of one sector of 32 would go one behind the other.
enum { UNIT = 16 };

// They may begin and end anywhere.
static unsigned int unit_count(uint64_t bytes)
{
	return (unsigned int)(bytes + 2 * (UNIT - 1)) / UNIT;
}

static unsigned int read_count(const struct lv_kernel_access *access)
{
	return access->words ? 2 * unit_count(access->size) : 1;
}

static struct group *group_of(struct lv_overlap *overlap, const struct lv_kernel_access *access)
{
	for (size_t i = 0; i < overlap->groups.count; i++) {
		struct group *group = &overlap->groups.v[i];

		if (group->point.before == access->point.before &&
		    lv_same_sum(group->moving, &access->address.moving))
			return group;
	}
	lv_push(overlap->groups,
		((struct group){ .point = access->point, .moving = &access->address.moving }));
	return &overlap->groups.v[overlap->groups.count - 1];
}

static bool same_place(const struct lv_kernel_access *a, const struct lv_kernel_access *b)
{
	return a->words == b->words && a->size == b->size &&
	       a->address.constant == b->address.constant &&
	       lv_same_sum(&a->address.settled, &b->address.settled);
}

// Loads of one field that are alternatives share a read; where one may follow the other, the second
// stays a load of its own.
static void join(struct lv_overlap *overlap, struct lv_kernel_access *access)
{
	struct group *group = group_of(overlap, access);
	size_t early = group->early.count;

	for (size_t i = 0; i < group->members.count; i++) {
		const struct member *member = &group->members.v[i];

		if (!same_place(member->access, access))
			continue;
		if (lv_access_follows(overlap->accesses, member->access, access,
				      group->point.block) ||
		    lv_access_follows(overlap->accesses, access, member->access,
				      group->point.block))
			return;
		early = member->early;
	}
	if (early == group->early.count) {
		if (group->reads + read_count(access) > MAX_READS)
			return;
		group->reads += read_count(access);
		lv_push(group->early, ((struct lv_early){}));
	}
	lv_push(group->members, ((struct member){ access, early }));
}

// Those that surely run come first, where not all have room.
static void plan(struct lv_overlap *overlap)
{
	struct lv_accesses *accesses = overlap->accesses;

	for (unsigned int conditions = 0; conditions <= LV_CONDITIONS; conditions++) {
		for (size_t i = 0; i < accesses->list.count; i++) {
			struct lv_kernel_access *access = &accesses->list.v[i];

			if (access->point.before && access->conditions == conditions)
				join(overlap, access);
		}
	}
}

// --- emitting ---

static LLVMValueRef new_variable(struct lv_overlap *overlap, LLVMTypeRef type)
{
	struct lv *lv = overlap->lv;
	LLVMBuilderRef builder = LLVMCreateBuilderInContext(lv->llvm);

	LLVMPositionBuilderBefore(builder,
				  LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(overlap->fn)));
	LLVMValueRef variable = LLVMBuildAlloca(builder, type, "");

	LLVMSetAlignment(variable, 8);
	LLVMDisposeBuilder(builder);
	return variable;
}

// First byte and number of bytes of the units that contain an access.
static void span_of(struct lv *lv, LLVMValueRef address, uint64_t size, LLVMValueRef *ret_first,
		    LLVMValueRef *ret_bytes)
{
	LLVMBuilderRef b = lv->builder;
	LLVMValueRef low = LLVMBuildAnd(b, address, lv_u64(lv, UNIT - 1), "");
	LLVMValueRef end = LLVMBuildAdd(b, low, lv_u64(lv, size + UNIT - 1), "");
	LLVMValueRef mask = lv_u64(lv, ~(uint64_t)(UNIT - 1));

	*ret_first = LLVMBuildAnd(b, address, mask, "");
	*ret_bytes = LLVMBuildAnd(b, end, mask, "");
}

static LLVMValueRef emit_place(struct lv_overlap *overlap, LLVMValueRef window,
			       LLVMValueRef address, LLVMValueRef bytes)
{
	LLVMValueRef args[] = { window, address, bytes };

	return lv_rt(overlap->lv, overlap->fn, "place", overlap->lv->i64, args, 3);
}

static LLVMValueRef emit_read(struct lv_overlap *overlap, LLVMValueRef place, unsigned int bits)
{
	char name[16];

	snprintf(name, sizeof(name), "read%u", bits);
	return lv_rt(overlap->lv, overlap->fn, name, LLVMIntTypeInContext(overlap->lv->llvm, bits),
		     &place, 1);
}

static void emit_words(struct lv_overlap *overlap, struct lv_early *early, uint64_t size,
		       LLVMValueRef bytes)
{
	struct lv *lv = overlap->lv;
	LLVMBuilderRef b = lv->builder;
	LLVMValueRef none = lv_u64(lv, 0);
	LLVMValueRef found = LLVMBuildICmp(b, LLVMIntNE, early->place, none, "");

	early->count = 2 * unit_count(size);
	for (unsigned int i = 0; i < early->count; i += 2) {
		uint64_t offset = 8 * i;
		LLVMValueRef at = LLVMBuildAdd(b, early->place, lv_u64(lv, offset), "");
		LLVMValueRef needed = LLVMBuildICmp(b, LLVMIntUGT, bytes, lv_u64(lv, offset), "");
		LLVMValueRef pair = new_variable(overlap, LLVMArrayType2(lv->i64, 2));
		LLVMValueRef args[] = {
			LLVMBuildSelect(b, LLVMBuildAnd(b, found, needed, ""), at, none, ""), pair
		};

		lv_rt(lv, overlap->fn, "read_pair", lv->void_type, args, 2);
		for (unsigned int k = 0; k < 2; k++) {
			LLVMValueRef index = lv_u64(lv, 8 * k);
			LLVMValueRef from = LLVMBuildGEP2(b, lv->i8, pair, &index, 1, "");

			early->v[i + k] = LLVMBuildLoad2(b, lv->i64, from, "");
		}
	}
}

static void emit_group(struct lv_overlap *overlap, struct group *group)
{
	struct lv *lv = overlap->lv;
	_cleanup_free_ LLVMValueRef *bytes = calloc(group->early.count, sizeof(*bytes));
	LLVMValueRef window = new_variable(overlap, LLVMArrayType2(lv->i64, 3));

	if (!bytes)
		lv_enomem();
	lv_before(lv, group->point.before);
	for (size_t i = 0; i < group->members.count; i++) {
		const struct lv_kernel_access *access = group->members.v[i].access;
		size_t early = group->members.v[i].early;

		if (bytes[early])
			continue;

		LLVMValueRef at = lv_linear_value(&overlap->accesses->linears, &access->address);

		bytes[early] = lv_u64(lv, access->size);
		if (i == 0) {
			LLVMValueRef args[] = { at, window };

			lv_rt(lv, overlap->fn, "window", lv->void_type, args, 2);
		}
		if (access->words)
			span_of(lv, at, access->size, &at, &bytes[early]);
		group->early.v[early].place = emit_place(overlap, window, at, bytes[early]);
	}
	for (size_t i = 0; i < group->members.count; i++) {
		const struct lv_kernel_access *access = group->members.v[i].access;
		struct lv_early *early = &group->early.v[group->members.v[i].early];

		if (early->count)
			continue;
		if (access->words) {
			emit_words(overlap, early, access->size, bytes[group->members.v[i].early]);
		} else {
			early->v[0] = emit_read(overlap, early->place, 8 * access->size);
			early->count = 1;
		}
	}
}

struct lv_overlap *lv_overlap_create(struct lv *lv, struct lv_provenance *prov, LLVMValueRef fn)
{
	struct lv_overlap *overlap = calloc(1, sizeof(*overlap));

	if (!overlap)
		lv_enomem();
	overlap->lv = lv;
	overlap->fn = fn;
	overlap->accesses = lv_accesses_create(lv, prov, fn);
	plan(overlap);
	for (size_t i = 0; i < overlap->groups.count; i++) {
		struct group *group = &overlap->groups.v[i];

		// One alone has nothing to overlap with.
		if (group->early.count > 1)
			emit_group(overlap, group);
		else
			group->members.count = 0;
	}
	return overlap;
}

void lv_overlap_destroy(struct lv_overlap *overlap)
{
	if (!overlap)
		return;
	for (size_t i = 0; i < overlap->groups.count; i++) {
		free(overlap->groups.v[i].members.v);
		free(overlap->groups.v[i].early.v);
	}
	free(overlap->groups.v);
	lv_accesses_destroy(overlap->accesses);
	free(overlap);
}

// --- using ---

const struct lv_early *lv_early(const struct lv_overlap *overlap, LLVMValueRef inst,
				unsigned int operand)
{
	if (!overlap)
		return NULL;
	for (size_t i = 0; i < overlap->groups.count; i++) {
		const struct group *group = &overlap->groups.v[i];

		for (size_t m = 0; m < group->members.count; m++) {
			const struct lv_kernel_access *access = group->members.v[m].access;

			if (access->inst == inst && access->operand == operand)
				return &group->early.v[group->members.v[m].early];
		}
	}
	return NULL;
}

void lv_early_branch(struct lv *lv, const struct lv_early *early, LLVMValueRef inst,
		     LLVMBasicBlockRef ret_blocks[2])
{
	LLVMBasicBlockRef tail = LLVMGetInstructionParent(inst);

	// First the split: it may be that of the entry block.
	lv_split(lv, inst);
	for (int i = 0; i < 2; i++)
		ret_blocks[i] = LLVMInsertBasicBlockInContext(lv->llvm, tail, "");

	LLVMValueRef found = LLVMBuildICmp(lv->builder, LLVMIntNE, early->place, lv_u64(lv, 0), "");

	LLVMBuildCondBr(lv->builder, found, ret_blocks[0], ret_blocks[1]);
	LLVMPositionBuilderAtEnd(lv->builder, ret_blocks[1]);
}

static void store_at(struct lv *lv, LLVMValueRef value, LLVMValueRef to, uint64_t at,
		     unsigned int align)
{
	LLVMValueRef offset = lv_u64(lv, at);
	LLVMValueRef place = LLVMBuildGEP2(lv->builder, lv->i8, to, &offset, 1, "");
	uint64_t size = lv_size(lv, LLVMTypeOf(value));

	LLVMSetAlignment(LLVMBuildStore(lv->builder, value, place), size < align ? size : align);
}

// Word @index from the one on in which the access begins: @odd, the second of its unit.
static LLVMValueRef word_at(struct lv *lv, const struct lv_early *early, uint64_t index,
			    LLVMValueRef odd)
{
	LLVMValueRef zero = lv_u64(lv, 0);
	LLVMValueRef even_word = index < early->count ? early->v[index] : zero;
	LLVMValueRef odd_word = index + 1 < early->count ? early->v[index + 1] : zero;

	return LLVMBuildSelect(lv->builder, odd, odd_word, even_word, "");
}

void lv_early_store(struct lv *lv, const struct lv_early *early, LLVMValueRef address,
		    uint64_t bytes, LLVMValueRef to, unsigned int align)
{
	LLVMBuilderRef b = lv->builder;
	LLVMValueRef low = LLVMBuildAnd(b, address, lv_u64(lv, 7), "");
	LLVMValueRef right = LLVMBuildShl(b, low, lv_u64(lv, 3), "");
	LLVMValueRef left = LLVMBuildSub(b, lv_u64(lv, 63), right, "");
	LLVMValueRef odd = LLVMBuildTrunc(b, LLVMBuildLShr(b, address, lv_u64(lv, 3), ""),
					  LLVMInt1TypeInContext(lv->llvm), "");

	for (uint64_t at = 0; at < bytes;) {
		LLVMValueRef word = word_at(lv, early, at / 8, odd);
		LLVMValueRef next = word_at(lv, early, at / 8 + 1, odd);

		// In two steps: a shift by 64 has no meaning.
		next = LLVMBuildShl(b, LLVMBuildShl(b, next, lv_u64(lv, 1), ""), left, "");
		word = LLVMBuildOr(b, LLVMBuildLShr(b, word, right, ""), next, "");
		if (bytes - at >= 8) {
			store_at(lv, word, to, at, align);
			at += 8;
			continue;
		}
		for (unsigned int size = 4; size; size /= 2) {
			if (!((bytes - at) & size))
				continue;

			LLVMTypeRef type = LLVMIntTypeInContext(lv->llvm, 8 * size);

			store_at(lv, LLVMBuildTrunc(b, word, type, ""), to, at, align);
			word = LLVMBuildLShr(b, word, lv_u64(lv, 8 * size), "");
			at += size;
		}
	}
}

void lv_overlap_drop(LLVMModuleRef module)
{
	for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
		_cleanup_values_ struct lv_values list = lv_instructions(fn);

		for (size_t i = 0; i < list.count; i++) {
			const char *callee = lv_callee(list.v[i]);

			if (strcmp(callee, "gs_rt_window") == 0 ||
			    strcmp(callee, "gs_rt_read_pair") == 0)
				LLVMInstructionEraseFromParent(list.v[i]);
			else if (strcmp(callee, "gs_rt_place") == 0 ||
				 lv_starts(callee, "gs_rt_read"))
				lv_replace(list.v[i], LLVMConstNull(LLVMTypeOf(list.v[i])));
		}
	}
}
