// SPDX-License-Identifier: Apache-2.0
#include "ir.h"

#include <string.h>

// clang promises LLVM much that only holds for memory that the program itself wrote. A detector
// reads memory that a failing or hostile machine wrote, so every such promise goes before the first
// optimisation.

static const char *const kept_attributes[] = {
	"nounwind", "null_pointer_is_valid", "byval", "sret", "elementtype", "signext", "zeroext",
	"immarg",
};

static bool keep_attribute(LLVMAttributeRef attribute)
{
	unsigned int kind = LLVMGetEnumAttributeKind(attribute);

	for (size_t i = 0; i < ARRAY_SIZE(kept_attributes); i++) {
		const char *name = kept_attributes[i];

		if (kind == LLVMGetEnumAttributeKindForName(name, strlen(name)))
			return true;
	}
	return false;
}

static void clean_string_attribute(LLVMValueRef value, LLVMAttributeIndex index,
				   LLVMAttributeRef attribute, bool call)
{
	unsigned int length;
	const char *key = LLVMGetStringAttributeKind(attribute, &length);

	if (length == strlen("no-builtins") && memcmp(key, "no-builtins", length) == 0)
		return;
	if (call)
		LLVMRemoveCallSiteStringAttribute(value, index, key, length);
	else
		LLVMRemoveStringAttributeAtIndex(value, index, key, length);
}

static void clean_attributes_at(LLVMValueRef value, LLVMAttributeIndex index, bool call)
{
	unsigned int count = call ? LLVMGetCallSiteAttributeCount(value, index)
				  : LLVMGetAttributeCountAtIndex(value, index);
	_cleanup_free_ LLVMAttributeRef *list = calloc(count + 1, sizeof(LLVMAttributeRef));

	if (!list)
		lv_enomem();
	if (call)
		LLVMGetCallSiteAttributes(value, index, list);
	else
		LLVMGetAttributesAtIndex(value, index, list);

	for (unsigned int i = 0; i < count; i++) {
		if (LLVMIsStringAttribute(list[i])) {
			clean_string_attribute(value, index, list[i], call);
			continue;
		}
		if (keep_attribute(list[i]))
			continue;
		if (call)
			LLVMRemoveCallSiteEnumAttribute(value, index,
							LLVMGetEnumAttributeKind(list[i]));
		else
			LLVMRemoveEnumAttributeAtIndex(value, index,
						       LLVMGetEnumAttributeKind(list[i]));
	}
}

static void clean_attributes(LLVMValueRef value, unsigned int params, bool call)
{
	clean_attributes_at(value, LLVMAttributeFunctionIndex, call);
	for (unsigned int i = 0; i <= params; i++)
		clean_attributes_at(value, LLVMAttributeReturnIndex + i, call);
}

void lv_clean_attributes(LLVMValueRef fn)
{
	clean_attributes(fn, LLVMCountParams(fn), false);
}

static void clean_flags(LLVMValueRef inst)
{
	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMAdd:
	case LLVMSub:
	case LLVMMul:
	case LLVMShl:
		LLVMSetNSW(inst, false);
		LLVMSetNUW(inst, false);
		break;
	case LLVMUDiv:
	case LLVMSDiv:
	case LLVMLShr:
	case LLVMAShr:
		LLVMSetExact(inst, false);
		break;
	case LLVMGetElementPtr:
		LLVMGEPSetNoWrapFlags(inst, 0);
		break;
	case LLVMZExt:
		LLVMSetNNeg(inst, false);
		break;
	case LLVMOr:
		LLVMSetIsDisjoint(inst, false);
		break;
	default:
		break;
	}
	if (LLVMCanValueUseFastMathFlags(inst))
		LLVMSetFastMathFlags(inst, LLVMFastMathNone);
}

// All but what names CO-RE accesses and loop hints: !range, !nonnull, !noundef, !tbaa, ...
static void clean_metadata(struct lv *lv, LLVMValueRef inst)
{
	unsigned int access = LLVMGetMDKindIDInContext(lv->llvm, "llvm.preserve.access.index", 26);
	// LLVM 19's "other than debug location" includes it.
	unsigned int location = LLVMGetMDKindIDInContext(lv->llvm, "dbg", 3);
	unsigned int loop = LLVMGetMDKindIDInContext(lv->llvm, "llvm.loop", 9);
	size_t count = 0;
	LLVMValueMetadataEntry *entries =
		LLVMInstructionGetAllMetadataOtherThanDebugLoc(inst, &count);

	for (size_t i = 0; i < count; i++) {
		unsigned int kind = LLVMValueMetadataEntriesGetKind(entries, i);

		if (kind != access && kind != loop && kind != location)
			LLVMSetMetadata(inst, kind, NULL);
	}
	LLVMDisposeValueMetadataEntries(entries);
}

// The offsets of fields come from the watched kernel and need not suit the type that is loaded; a
// misaligned access ends every kernel on the GPU. LLVM raises the alignment again where it can
// prove one.
static void clean_alignment(LLVMValueRef inst)
{
	bool access = LLVMIsALoadInst(inst) || LLVMIsAStoreInst(inst);

	if (access && LLVMGetOrdering(inst) == LLVMAtomicOrderingNotAtomic)
		LLVMSetAlignment(inst, 1);
}

static void clean_instruction(struct lv *lv, LLVMValueRef inst)
{
	const char *callee = lv_callee(inst);

	// Life times would make a use after the scope's end undefined; without them it reads the
	// old value. Variables' places are for debuggers only and would have to follow each change.
	if (lv_starts(callee, "llvm.lifetime.") || lv_starts(callee, "llvm.dbg.") ||
	    lv_starts(callee, "llvm.assume") || lv_starts(callee, "llvm.invariant.") ||
	    lv_starts(callee, "llvm.experimental.noalias")) {
		if (LLVMGetTypeKind(LLVMTypeOf(inst)) == LLVMVoidTypeKind)
			LLVMInstructionEraseFromParent(inst);
		return;
	}
	clean_flags(inst);
	clean_alignment(inst);
	clean_metadata(lv, inst);
	if (LLVMIsACallInst(inst))
		clean_attributes(inst, LLVMGetNumArgOperands(inst), true);
}

void lv_clean(struct lv *lv)
{
	LLVMSetIsNewDbgInfoFormat(lv->module, false);
	for (LLVMValueRef fn = LLVMGetFirstFunction(lv->module); fn; fn = LLVMGetNextFunction(fn)) {
		// Intrinsics' attributes belong to LLVM.
		if (!LLVMGetIntrinsicID(fn))
			lv_clean_attributes(fn);

		_cleanup_values_ struct lv_values list = lv_instructions(fn);

		for (size_t i = 0; i < list.count; i++)
			clean_instruction(lv, list.v[i]);
	}
}
