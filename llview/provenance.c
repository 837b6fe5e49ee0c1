// SPDX-License-Identifier: Apache-2.0
#include "provenance.h"

#include <string.h>

#include <llvm-c/Target.h>

#include "ir.h"
#include "ptrmap.h"

struct lv_provenance {
	struct lv *lv;
	/** number: enum lv_origin of a pointer instruction. */
	struct lv_ptrmap origins;
	/** first: size, second: offset. */
	struct lv_ptrmap extents;
	/** first: the sizes that belong to the table that a phi or select leads into. */
	struct lv_ptrmap sizes;
};

static bool is_pointer(LLVMValueRef value)
{
	return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMPointerTypeKind;
}

// The pointer that this one is computed from by arithmetic alone, or NULL.
static LLVMValueRef based_on(LLVMValueRef value)
{
	LLVMValueRef operand = NULL;

	if (LLVMIsAConstantExpr(value)) {
		LLVMOpcode op = LLVMGetConstOpcode(value);

		if (op == LLVMGetElementPtr || op == LLVMBitCast || op == LLVMAddrSpaceCast)
			operand = LLVMGetOperand(value, 0);
	} else if (LLVMIsAGetElementPtrInst(value) || LLVMIsABitCastInst(value) ||
		   LLVMIsAFreezeInst(value) || LLVMIsAAddrSpaceCastInst(value)) {
		operand = LLVMGetOperand(value, 0);
	}
	return operand && is_pointer(operand) ? operand : NULL;
}

static LLVMValueRef object_of(LLVMValueRef value, unsigned int depth)
{
	LLVMValueRef base;

	while ((base = based_on(value)))
		value = base;
	if (LLVMIsAAllocaInst(value) || LLVMIsAGlobalVariable(value))
		return value;
	if (!depth)
		return NULL;
	if (LLVMIsASelectInst(value)) {
		LLVMValueRef object = object_of(LLVMGetOperand(value, 1), depth - 1);

		return object == object_of(LLVMGetOperand(value, 2), depth - 1) ? object : NULL;
	}
	if (!LLVMIsAPHINode(value))
		return NULL;

	LLVMValueRef object = NULL;

	for (unsigned int i = 0; i < LLVMCountIncoming(value); i++) {
		LLVMValueRef incoming = LLVMGetIncomingValue(value, i);
		LLVMValueRef root = incoming;

		// Around the loop: the same pointer, moved.
		while ((base = based_on(root)))
			root = base;
		if (root == value)
			continue;

		LLVMValueRef one = object_of(incoming, depth - 1);

		if (!one || (object && one != object))
			return NULL;
		object = one;
	}
	return object;
}

LLVMValueRef lv_object(struct lv_provenance *prov, LLVMValueRef pointer)
{
	(void)prov;
	return object_of(pointer, 8);
}

static bool is_table(LLVMValueRef value)
{
	return LLVMIsAGlobalVariable(value) && LLVMIsGlobalConstant(value) &&
	       LLVMGetInitializer(value);
}

// The pointer surely leads into constant tables, one or several.
static bool in_tables(LLVMValueRef value, unsigned int depth)
{
	LLVMValueRef base;

	while ((base = based_on(value)))
		value = base;
	if (LLVMIsAGlobalVariable(value))
		return is_table(value);
	if (!depth)
		return false;
	if (LLVMIsASelectInst(value))
		return in_tables(LLVMGetOperand(value, 1), depth - 1) &&
		       in_tables(LLVMGetOperand(value, 2), depth - 1);
	if (!LLVMIsAPHINode(value))
		return false;
	for (unsigned int i = 0; i < LLVMCountIncoming(value); i++) {
		LLVMValueRef root = LLVMGetIncomingValue(value, i);

		while ((base = based_on(root)))
			root = base;
		if (root != value && !in_tables(root, depth - 1))
			return false;
	}
	return true;
}

// A load of a pointer out of a constant table of local objects.
static bool is_table_load(LLVMValueRef inst)
{
	return LLVMIsALoadInst(inst) && is_pointer(inst) && in_tables(LLVMGetOperand(inst, 0), 8);
}

bool lv_from_table(LLVMValueRef pointer)
{
	LLVMValueRef base;

	while ((base = based_on(pointer)))
		pointer = base;
	return is_table_load(pointer);
}

enum lv_origin lv_origin(struct lv_provenance *prov, LLVMValueRef pointer)
{
	if (LLVMIsAInstruction(pointer)) {
		struct lv_ptrmap_entry *entry = lv_ptrmap_find(&prov->origins, pointer);

		return entry ? entry->number : LV_ORIGIN_KERNEL;
	}
	if (LLVMIsAGlobalVariable(pointer))
		return LV_ORIGIN_LOCAL;
	if (LLVMIsAConstantExpr(pointer) && based_on(pointer))
		return lv_origin(prov, based_on(pointer));
	return LV_ORIGIN_KERNEL;
}

static enum lv_origin transfer(struct lv_provenance *prov, LLVMValueRef inst)
{
	if (LLVMIsAAllocaInst(inst))
		return LV_ORIGIN_LOCAL;
	if (based_on(inst))
		return lv_origin(prov, based_on(inst));
	if (LLVMIsASelectInst(inst))
		return lv_origin(prov, LLVMGetOperand(inst, 1)) |
		       lv_origin(prov, LLVMGetOperand(inst, 2));
	if (LLVMIsAPHINode(inst)) {
		enum lv_origin origin = LV_ORIGIN_NONE;

		for (unsigned int i = 0; i < LLVMCountIncoming(inst); i++)
			origin |= lv_origin(prov, LLVMGetIncomingValue(inst, i));
		return origin;
	}
	return is_table_load(inst) ? LV_ORIGIN_MIXED : LV_ORIGIN_KERNEL;
}

struct lv_provenance *lv_provenance_create(struct lv *lv, LLVMValueRef fn)
{
	struct lv_provenance *prov = calloc(1, sizeof(*prov));
	_cleanup_values_ struct lv_values list = lv_instructions(fn);
	bool changed = true;

	if (!prov)
		lv_enomem();
	prov->lv = lv;

	// Optimistic: nothing is known of any pointer at first, and bits are only ever added.
	for (size_t i = 0; i < list.count; i++) {
		if (is_pointer(list.v[i]))
			lv_ptrmap_add(&prov->origins, list.v[i]);
	}
	while (changed) {
		changed = false;
		for (size_t i = 0; i < list.count; i++) {
			if (!is_pointer(list.v[i]))
				continue;

			struct lv_ptrmap_entry *entry = lv_ptrmap_find(&prov->origins, list.v[i]);
			unsigned int origin = transfer(prov, list.v[i]) | entry->number;

			changed |= origin != entry->number;
			entry->number = origin;
		}
	}
	return prov;
}

void lv_provenance_destroy(struct lv_provenance *prov)
{
	free(prov->origins.entries);
	free(prov->extents.entries);
	free(prov->sizes.entries);
	free(prov);
}

// --- extents ---

static struct lv_extent remember(struct lv_provenance *prov, LLVMValueRef pointer,
				 struct lv_extent extent)
{
	struct lv_ptrmap_entry *entry = lv_ptrmap_add(&prov->extents, pointer);

	entry->first = extent.size;
	entry->second = extent.offset;
	return extent;
}

static uint64_t object_size(struct lv *lv, LLVMValueRef object)
{
	LLVMTargetDataRef layout = LLVMGetModuleDataLayout(lv->module);

	if (LLVMIsAGlobalVariable(object))
		return LLVMABISizeOfType(layout, LLVMGlobalGetValueType(object));

	LLVMValueRef count = LLVMGetOperand(object, 0);
	uint64_t n = LLVMIsAConstantInt(count) ? LLVMConstIntGetZExtValue(count) : 0;

	return n * LLVMABISizeOfType(layout, LLVMGetAllocatedType(object));
}

// base + what the GEP adds, at the builder's place.
static LLVMValueRef gep_offset(struct lv *lv, LLVMValueRef gep, LLVMValueRef base)
{
	LLVMTargetDataRef layout = LLVMGetModuleDataLayout(lv->module);
	LLVMTypeRef type = LLVMGetGEPSourceElementType(gep);
	LLVMValueRef sum = base;

	for (int i = 1; i < LLVMGetNumOperands(gep); i++) {
		LLVMValueRef index = LLVMGetOperand(gep, i);

		if (i > 1 && LLVMGetTypeKind(type) == LLVMStructTypeKind) {
			unsigned int member = LLVMConstIntGetZExtValue(index);

			sum = LLVMBuildAdd(lv->builder, sum,
					   lv_u64(lv, LLVMOffsetOfElement(layout, type, member)),
					   "");
			type = LLVMStructGetTypeAtIndex(type, member);
			continue;
		}
		if (i > 1)
			type = LLVMGetElementType(type);

		LLVMValueRef wide = LLVMBuildIntCast2(lv->builder, index, lv->i64, true, "");
		LLVMValueRef bytes = LLVMBuildMul(lv->builder, wide,
						  lv_u64(lv, LLVMABISizeOfType(layout, type)), "");

		sum = LLVMBuildAdd(lv->builder, sum, bytes, "");
	}
	return sum;
}

static void go_behind(struct lv *lv, LLVMValueRef value)
{
	if (LLVMIsAInstruction(value))
		lv_behind(lv, value);
}

static struct lv_extent derived_extent(struct lv_provenance *prov, LLVMValueRef pointer)
{
	struct lv *lv = prov->lv;
	struct lv_extent extent = lv_extent(prov, based_on(pointer));
	bool gep =
		LLVMIsAGetElementPtrInst(pointer) ||
		(LLVMIsAConstantExpr(pointer) && LLVMGetConstOpcode(pointer) == LLVMGetElementPtr);

	if (gep) {
		go_behind(lv, pointer);
		extent.offset = gep_offset(lv, pointer, extent.offset);
	}
	return remember(prov, pointer, extent);
}

static struct lv_extent phi_extent(struct lv_provenance *prov, LLVMValueRef phi)
{
	struct lv *lv = prov->lv;
	LLVMValueRef object = lv_object(prov, phi);
	struct lv_extent extent;

	LLVMPositionBuilderBefore(lv->builder, phi);
	LLVMSetCurrentDebugLocation2(lv->builder, LLVMInstructionGetDebugLoc(phi));
	extent.offset = LLVMBuildPhi(lv->builder, lv->i64, "");
	extent.size = object ? lv_u64(lv, object_size(lv, object))
			     : LLVMBuildPhi(lv->builder, lv->i64, "");
	// Known before the incoming values are looked at: they may lead back here.
	remember(prov, phi, extent);

	for (unsigned int i = 0; i < LLVMCountIncoming(phi); i++) {
		struct lv_extent one = lv_extent(prov, LLVMGetIncomingValue(phi, i));
		LLVMBasicBlockRef block = LLVMGetIncomingBlock(phi, i);

		LLVMAddIncoming(extent.offset, &one.offset, &block, 1);
		if (!object)
			LLVMAddIncoming(extent.size, &one.size, &block, 1);
	}
	return extent;
}

static struct lv_extent select_extent(struct lv_provenance *prov, LLVMValueRef select)
{
	struct lv *lv = prov->lv;
	LLVMValueRef condition = LLVMGetOperand(select, 0);
	struct lv_extent a = lv_extent(prov, LLVMGetOperand(select, 1));
	struct lv_extent b = lv_extent(prov, LLVMGetOperand(select, 2));
	struct lv_extent extent;

	lv_behind(lv, select);
	extent.size = LLVMBuildSelect(lv->builder, condition, a.size, b.size, "");
	extent.offset = LLVMBuildSelect(lv->builder, condition, a.offset, b.offset, "");
	return remember(prov, select, extent);
}

// Bytes from a constant pointer to the end of the local object that it points into; 0 if it is
// none.
static uint64_t bytes_behind(struct lv *lv, LLVMValueRef pointer)
{
	uint64_t offset = 0;

	while (LLVMIsAConstantExpr(pointer)) {
		if (LLVMGetConstOpcode(pointer) != LLVMGetElementPtr)
			return 0;

		LLVMValueRef sum = gep_offset(lv, pointer, lv_u64(lv, 0));

		if (!LLVMIsAConstantInt(sum))
			return 0;
		offset += LLVMConstIntGetZExtValue(sum);
		pointer = LLVMGetOperand(pointer, 0);
	}
	if (!LLVMIsAGlobalVariable(pointer))
		return 0;

	uint64_t size = object_size(lv, pointer);

	return offset < size ? size - offset : 0;
}

// Write into sizes[], one for each 8 bytes of the table, what each pointer in `init` points to.
static void table_sizes(struct lv *lv, LLVMValueRef init, uint64_t at, LLVMValueRef *sizes,
			uint64_t count)
{
	LLVMTargetDataRef layout = LLVMGetModuleDataLayout(lv->module);
	LLVMTypeRef type = LLVMTypeOf(init);

	switch (LLVMGetTypeKind(type)) {
	case LLVMPointerTypeKind:
		if (at % 8 == 0 && at / 8 < count)
			sizes[at / 8] = lv_u64(lv, bytes_behind(lv, init));
		break;
	case LLVMStructTypeKind:
		for (unsigned int i = 0; i < LLVMCountStructElementTypes(type); i++)
			table_sizes(lv, LLVMGetAggregateElement(init, i),
				    at + LLVMOffsetOfElement(layout, type, i), sizes, count);
		break;
	case LLVMArrayTypeKind:
		// Numbers need no visit, and a large table of them no time.
		if (LLVMGetTypeKind(LLVMGetElementType(type)) == LLVMIntegerTypeKind)
			break;
		for (unsigned int i = 0; i < LLVMGetArrayLength2(type); i++)
			table_sizes(lv, LLVMGetAggregateElement(init, i),
				    at + i * LLVMABISizeOfType(layout, LLVMGetElementType(type)),
				    sizes, count);
		break;
	default:
		break;
	}
}

static LLVMValueRef sizes_of_table(struct lv *lv, LLVMValueRef table)
{
	size_t length;
	_cleanup_free_ char *name = lv_format("gs.sizes.%s", LLVMGetValueName2(table, &length));
	LLVMValueRef global = LLVMGetNamedGlobal(lv->module, name);

	if (global)
		return global;

	uint64_t count = (object_size(lv, table) + 7) / 8;
	_cleanup_free_ LLVMValueRef *sizes = calloc(count + 1, sizeof(*sizes));

	if (!sizes)
		lv_enomem();
	for (uint64_t i = 0; i < count; i++)
		sizes[i] = lv_u64(lv, 0);
	table_sizes(lv, LLVMGetInitializer(table), 0, sizes, count);

	global = LLVMAddGlobal(lv->module, LLVMArrayType2(lv->i64, count), name);
	LLVMSetInitializer(global, LLVMConstArray2(lv->i64, sizes, count));
	LLVMSetGlobalConstant(global, true);
	LLVMSetLinkage(global, LLVMInternalLinkage);
	return global;
}

// The sizes that belong to the table that `pointer` leads into.
static LLVMValueRef sizes_of(struct lv_provenance *prov, LLVMValueRef pointer)
{
	struct lv *lv = prov->lv;
	LLVMValueRef base;

	while ((base = based_on(pointer)))
		pointer = base;
	if (LLVMIsAGlobalVariable(pointer))
		return sizes_of_table(lv, pointer);

	struct lv_ptrmap_entry *known = lv_ptrmap_find(&prov->sizes, pointer);

	if (known)
		return known->first;
	if (LLVMIsASelectInst(pointer)) {
		LLVMValueRef a = sizes_of(prov, LLVMGetOperand(pointer, 1));
		LLVMValueRef b = sizes_of(prov, LLVMGetOperand(pointer, 2));

		lv_behind(lv, pointer);
		LLVMValueRef select =
			LLVMBuildSelect(lv->builder, LLVMGetOperand(pointer, 0), a, b, "");

		lv_ptrmap_add(&prov->sizes, pointer)->first = select;
		return select;
	}

	LLVMPositionBuilderBefore(lv->builder, pointer);
	LLVMValueRef phi = LLVMBuildPhi(lv->builder, lv->ptr, "");

	lv_ptrmap_add(&prov->sizes, pointer)->first = phi;
	for (unsigned int i = 0; i < LLVMCountIncoming(pointer); i++) {
		LLVMValueRef one = sizes_of(prov, LLVMGetIncomingValue(pointer, i));
		LLVMBasicBlockRef block = LLVMGetIncomingBlock(pointer, i);

		LLVMAddIncoming(phi, &one, &block, 1);
	}
	return phi;
}

// Which object a table's pointer points to is known by where in the table it stands. The load
// itself is checked against the table's bounds before this is reached.
static struct lv_extent table_extent(struct lv_provenance *prov, LLVMValueRef load)
{
	struct lv *lv = prov->lv;
	struct lv_extent where = lv_extent(prov, LLVMGetOperand(load, 0));
	LLVMValueRef sizes = sizes_of(prov, LLVMGetOperand(load, 0));
	struct lv_extent extent = { .offset = lv_u64(lv, 0) };

	lv_behind(lv, load);
	LLVMValueRef low = LLVMBuildAnd(lv->builder, where.offset, lv_u64(lv, 7), "");
	LLVMValueRef aligned = LLVMBuildICmp(lv->builder, LLVMIntEQ, low, lv_u64(lv, 0), "");
	LLVMValueRef at = LLVMBuildAnd(lv->builder, where.offset, lv_u64(lv, ~UINT64_C(7)), "");
	LLVMValueRef entry = LLVMBuildGEP2(lv->builder, lv->i8, sizes, &at, 1, "");

	extent.size = LLVMBuildLoad2(lv->builder, lv->i64, entry, "");
	extent.size = LLVMBuildSelect(lv->builder, aligned, extent.size, lv_u64(lv, 0), "");
	return remember(prov, load, extent);
}

struct lv_extent lv_extent(struct lv_provenance *prov, LLVMValueRef pointer)
{
	struct lv *lv = prov->lv;
	struct lv_ptrmap_entry *known = lv_ptrmap_find(&prov->extents, pointer);

	if (known)
		return (struct lv_extent){ known->first, known->second };
	if (!(lv_origin(prov, pointer) & LV_ORIGIN_LOCAL))
		return (struct lv_extent){ lv_u64(lv, 0), lv_u64(lv, 0) };
	if (LLVMIsAAllocaInst(pointer) || LLVMIsAGlobalVariable(pointer))
		return (struct lv_extent){ lv_u64(lv, object_size(lv, pointer)), lv_u64(lv, 0) };
	if (based_on(pointer))
		return derived_extent(prov, pointer);
	if (LLVMIsAPHINode(pointer))
		return phi_extent(prov, pointer);
	if (LLVMIsASelectInst(pointer))
		return select_extent(prov, pointer);
	return table_extent(prov, pointer);
}

char *lv_origin_words(struct lv_provenance *prov, LLVMValueRef pointer)
{
	LLVMValueRef object = lv_object(prov, pointer);
	size_t length;

	if (!object)
		return lv_format("one of several local objects");

	const char *name = LLVMGetValueName2(object, &length);

	// Inlining and splitting add suffixes: "name.sroa.0.i".
	if (LLVMIsAAllocaInst(object))
		return length ? lv_format("stack object %.*s", (int)strcspn(name, "."), name)
			      : lv_format("stack object");
	if (lv_starts(name, "gs.sizes."))
		return lv_format("sizes of the objects in a constant table");
	if (lv_starts(name, ".str") || LLVMIsConstantString(LLVMGetInitializer(object)))
		return lv_format("constant string");
	return lv_format("static variable %s", name);
}
