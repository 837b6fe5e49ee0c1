// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include <llvm-c/Target.h>

#include "diag.h"
#include "ir.h"

// `p->in_execve` on a bit field of a kernel type: clang loads the storage unit and shifts by the
// positions that the field has in the detector's own types, relocating neither. Here the load
// becomes an extraction by relocated size and shifts, and its result is put back at the local
// position, where clang's own shifts find it.

// Kinds of llvm.bpf.preserve.field.info, as enum bpf_core_relo_kind.
enum info_kind { INFO_SIZE = 1, INFO_LSHIFT = 4, INFO_RSHIFT = 5 };

struct access {
	LLVMValueRef call;
	/** Position in the storage unit that clang uses, and width, in bits. */
	uint64_t shift, width;
	bool sign;
};

// The member that an access names, if it is a bit field.
static LLVMMetadataRef bitfield_member(struct lv *lv, LLVMValueRef call, unsigned int index_operand)
{
	unsigned int kind = LLVMGetMDKindIDInContext(lv->llvm, "llvm.preserve.access.index", 26);
	LLVMValueRef md = LLVMGetMetadata(call, kind);

	if (!md)
		return NULL;

	LLVMMetadataRef type = lv_di_strip(lv, LLVMValueAsMetadata(md), true);
	LLVMMetadataRef elements = lv_md_operand(lv, type, LV_DI_ELEMENTS);
	uint64_t index = LLVMConstIntGetZExtValue(LLVMGetOperand(call, index_operand));
	LLVMMetadataRef member = lv_md_operand(lv, elements, index);

	return member && lv_di_is_bitfield(member) ? member : NULL;
}

static uint64_t storage_offset(struct lv *lv, LLVMValueRef call)
{
	unsigned int kind = LLVMGetEnumAttributeKindForName("elementtype", strlen("elementtype"));
	LLVMAttributeRef attribute = LLVMGetCallSiteEnumAttribute(call, 1, kind);

	if (!attribute)
		return 0;

	LLVMTypeRef type = LLVMGetTypeAttributeValue(attribute);
	uint64_t index = LLVMConstIntGetZExtValue(LLVMGetOperand(call, 1));

	return LLVMOffsetOfElement(LLVMGetModuleDataLayout(lv->module), type, index);
}

static bool find_access(struct lv *lv, LLVMValueRef inst, struct access *ret)
{
	const char *callee = lv_callee(inst);
	bool structure = lv_starts(callee, "llvm.preserve.struct.access.index");
	bool is_union = lv_starts(callee, "llvm.preserve.union.access.index");

	if (!structure && !is_union)
		return false;

	LLVMMetadataRef member = bitfield_member(lv, inst, structure ? 2 : 1);

	if (!member)
		return false;

	LLVMMetadataRef type = lv_di_strip(lv, lv_md_operand(lv, member, LV_DI_BASE), true);
	uint64_t unit = structure ? storage_offset(lv, inst) : 0;
	_cleanup_free_ char *type_name = lv_di_name(type);

	*ret = (struct access){
		.call = inst,
		.shift = LLVMDITypeGetOffsetInBits(member) - 8 * unit,
		.width = LLVMDITypeGetSizeInBits(member),
		// The only unsigned types that a bit field can have: "unsigned ...", _Bool, enums.
		.sign = LLVMGetDINodeTag(type) == LV_DW_BASE && !lv_starts(type_name, "unsigned") &&
			!lv_starts(type_name, "_Bool"),
	};
	return true;
}

static LLVMValueRef field_info(struct lv *lv, const struct access *access, enum info_kind kind)
{
	unsigned int id = LLVMLookupIntrinsicID("llvm.bpf.preserve.field.info", 28);
	LLVMTypeRef type = LLVMIntrinsicGetType(lv->llvm, id, &lv->ptr, 1);
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(lv->module, id, &lv->ptr, 1);
	LLVMValueRef args[] = { access->call, lv_u64(lv, kind) };

	return LLVMBuildCall2(lv->builder, type, fn, args, 2, "");
}

// u64 gs.unit(ptr, u32 size): load 1, 2, 4 or 8 bytes.
static LLVMValueRef unit_function(struct lv *lv)
{
	LLVMValueRef fn = LLVMGetNamedFunction(lv->module, "gs.unit");

	if (fn)
		return fn;

	LLVMTypeRef params[] = { lv->ptr, lv->i32 };

	fn = LLVMAddFunction(lv->module, "gs.unit", LLVMFunctionType(lv->i64, params, 2, false));
	lv_attribute(lv, fn, "null_pointer_is_valid", 0);

	LLVMBuilderRef builder = LLVMCreateBuilderInContext(lv->llvm);
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(lv->llvm, fn, "");
	LLVMBasicBlockRef other = LLVMAppendBasicBlockInContext(lv->llvm, fn, "");

	LLVMPositionBuilderAtEnd(builder, other);
	LLVMBuildRet(builder, lv_u64(lv, 0));
	LLVMPositionBuilderAtEnd(builder, entry);

	LLVMValueRef choice = LLVMBuildSwitch(builder, LLVMGetParam(fn, 1), other, 4);

	for (unsigned int bytes = 1; bytes <= 8; bytes *= 2) {
		LLVMBasicBlockRef block = LLVMAppendBasicBlockInContext(lv->llvm, fn, "");

		LLVMAddCase(choice, lv_u32(lv, bytes), block);
		LLVMPositionBuilderAtEnd(builder, block);

		LLVMValueRef load =
			LLVMBuildLoad2(builder, LLVMIntTypeInContext(lv->llvm, 8 * bytes),
				       LLVMGetParam(fn, 0), "");

		LLVMSetAlignment(load, 1);
		LLVMBuildRet(builder, LLVMBuildZExtOrBitCast(builder, load, lv->i64, ""));
	}
	LLVMDisposeBuilder(builder);
	return fn;
}

static void replace_load(struct lv *lv, const struct access *access, LLVMValueRef load)
{
	LLVMTypeRef type = LLVMTypeOf(load);

	lv_before(lv, load);

	LLVMValueRef fn = unit_function(lv);
	LLVMValueRef args[] = { access->call, field_info(lv, access, INFO_SIZE) };
	LLVMValueRef value =
		LLVMBuildCall2(lv->builder, LLVMGlobalGetValueType(fn), fn, args, 2, "");
	LLVMValueRef left = field_info(lv, access, INFO_LSHIFT);
	LLVMValueRef right = field_info(lv, access, INFO_RSHIFT);

	value = LLVMBuildShl(lv->builder, value, LLVMBuildZExt(lv->builder, left, lv->i64, ""), "");
	right = LLVMBuildZExt(lv->builder, right, lv->i64, "");
	value = access->sign ? LLVMBuildAShr(lv->builder, value, right, "")
			     : LLVMBuildLShr(lv->builder, value, right, "");

	// Back to where clang looks for it.
	uint64_t mask = access->width >= 64 ? UINT64_MAX : (UINT64_C(1) << access->width) - 1;

	value = LLVMBuildAnd(lv->builder, value, lv_u64(lv, mask), "");
	value = LLVMBuildIntCast2(lv->builder, value, type, false, "");
	value = LLVMBuildShl(lv->builder, value, LLVMConstInt(type, access->shift, false), "");
	lv_replace(load, value);
}

static void handle_access(struct lv *lv, const struct access *access)
{
	_cleanup_values_ struct lv_values users = lv_users(access->call);

	for (size_t i = 0; i < users.count; i++) {
		LLVMValueRef user = users.v[i];

		if (LLVMIsAStoreInst(user) && LLVMGetOperand(user, 1) == access->call)
			lv_error(lv, user, "a bit field of a kernel type cannot be written");
		if (LLVMIsALoadInst(user) &&
		    LLVMGetTypeKind(LLVMTypeOf(user)) == LLVMIntegerTypeKind)
			replace_load(lv, access, user);
	}
}

void lv_bitfields(struct lv *lv)
{
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++) {
			struct access access;

			if (find_access(lv, list.v[j], &access))
				handle_access(lv, &access);
		}
	}
}
