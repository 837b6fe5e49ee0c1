// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <string.h>

#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "diag.h"
#include "ir.h"
#include "path.h"
#include "slots.h"

// The BPF back end's passes leave, for each distinct access, a global
// `llvm.<type>:<kind>:<value>$<path>` and loads of it. Each becomes a slot.

static struct gs_error *run_bpf_passes(struct lv *lv)
{
	LLVMInitializeBPFTargetInfo();
	LLVMInitializeBPFTarget();
	LLVMInitializeBPFTargetMC();

	LLVMTargetRef target;
	char *message = NULL;

	if (LLVMGetTargetFromTriple("bpfel", &target, &message)) {
		struct gs_error *err =
			gs_error_create(GS_ERROR_OTHER, "LLVM lacks BPF: %s", message);

		LLVMDisposeMessage(message);
		return err;
	}

	LLVMTargetMachineRef machine =
		LLVMCreateTargetMachine(target, "bpfel", "v4", "", LLVMCodeGenLevelNone,
					LLVMRelocDefault, LLVMCodeModelDefault);
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef failed = LLVMRunPasses(lv->module, "default<O0>", machine, options);
	struct gs_error *err = NULL;

	LLVMDisposePassBuilderOptions(options);
	LLVMDisposeTargetMachine(machine);
	if (failed) {
		message = LLVMGetErrorMessage(failed);
		err = gs_error_create(GS_ERROR_OTHER, "CO-RE passes: %s", message);
		LLVMDisposeErrorMessage(message);
	}
	return err;
}

static LLVMMetadataRef access_type(struct lv *lv, LLVMValueRef global)
{
	unsigned int kind = LLVMGetMDKindIDInContext(lv->llvm, "llvm.preserve.access.index", 26);
	size_t count = 0;
	LLVMValueMetadataEntry *entries = LLVMGlobalCopyAllMetadata(global, &count);
	LLVMMetadataRef ret = NULL;

	for (size_t i = 0; i < count; i++) {
		if (LLVMValueMetadataEntriesGetKind(entries, i) == kind)
			ret = LLVMValueMetadataEntriesGetMetadata(entries, i);
	}
	LLVMDisposeValueMetadataEntries(entries);
	return ret;
}

static uint32_t btf_kind(LLVMMetadataRef type)
{
	switch (LLVMGetDINodeTag(type)) {
	case LV_DW_BASE:
		return LV_BTF_INT;
	case LV_DW_POINTER:
		return LV_BTF_PTR;
	case LV_DW_ARRAY:
		return LV_BTF_ARRAY;
	case LV_DW_STRUCT:
		return LV_BTF_STRUCT;
	case LV_DW_UNION:
		return LV_BTF_UNION;
	case LV_DW_ENUMERATION:
		return LV_BTF_ENUM;
	case LV_DW_TYPEDEF:
		return LV_BTF_TYPEDEF;
	case LV_DW_SUBROUTINE:
		return LV_BTF_FUNC_PROTO;
	default:
		return 0;
	}
}

// The parts of a global's name; the type's name is as long as type_length says.
struct access_name {
	const char *type;
	size_t type_length;
	unsigned int kind;
	uint64_t value;
	const char *path;
};

static bool parse_name(const char *name, struct access_name *ret)
{
	int at = 0;

	if (!lv_starts(name, "llvm."))
		return false;
	ret->type = name + strlen("llvm.");

	// The type's name comes from C and holds no colon.
	const char *colon = strchr(ret->type, ':');

	if (!colon)
		return false;
	ret->type_length = colon - ret->type;

	long long value;

	if (sscanf(colon, ":%u:%lli$%n", &ret->kind, &value, &at) < 2 || !at)
		return false;
	ret->value = value;
	ret->path = colon + at;
	return true;
}

static bool make_slot(struct lv *lv, LLVMValueRef global, LLVMValueRef use, uint32_t *ret)
{
	size_t length;
	struct access_name name;
	LLVMMetadataRef type = access_type(lv, global);
	bool good = parse_name(LLVMGetValueName2(global, &length), &name) && type;

	if (!good || name.kind > GS_SLOT_TYPE_MATCHES || name.kind == 6) {
		lv_error(lv, use, "this question about a kernel type is not supported");
		return false;
	}

	// An anonymous type has no name that another kernel's BTF could be asked for. Enumerators have names of their own,
	// of which C allows one each.
	_cleanup_free_ char *type_name = lv_format("%.*s", (int)name.type_length, name.type);
	struct lv_path path = {};

	if (!lv_path_parse(lv, type, name.path, &path)) {
		lv_error(lv, use, "cannot follow this access into %s", type_name);
		return false;
	}
	if (!type_name[0] && name.kind != GS_SLOT_ENUMVAL_EXISTS &&
	    name.kind != GS_SLOT_ENUMVAL_VALUE)
		lv_error(lv, use, "this type has no name that the watched kernel could know it by");

	struct lv_slot slot = {
		.flavor = lv_strip_flavor(type_name),
		.chars = path.chars,
	};

	slot.fat = (struct gs_fat_slot){
		.kind = name.kind,
		.flags =
			path.bitfield && name.kind <= GS_SLOT_FIELD_RSHIFT ? GS_SLOT_F_BITFIELD : 0,
		.type_kind = btf_kind(type),
		.name = lv_string(lv, type_name),
		.path = lv_string(lv, path.text),
		.site = lv_site(lv, use),
		.local_size = name.kind <= GS_SLOT_FIELD_RSHIFT ? path.size : 0,
		.local_value = name.value,
	};
	free(path.text);
	*ret = lv_add_slot(lv, &slot);
	return true;
}

// A pointer to a field that is loaded as it is, not as part of something larger or smaller.
static void note_scalar_use(struct lv *lv, uint32_t index, LLVMValueRef passthrough)
{
	struct gs_fat_slot *slot = &lv->slots.v[index].fat;

	if (slot->kind != GS_SLOT_FIELD_OFFSET || (slot->flags & GS_SLOT_F_BITFIELD))
		return;
	for (LLVMUseRef use = LLVMGetFirstUse(passthrough); use; use = LLVMGetNextUse(use)) {
		LLVMValueRef user = LLVMGetUser(use);

		if (LLVMIsALoadInst(user) && lv_size(lv, LLVMTypeOf(user)) == slot->local_size)
			slot->flags |= GS_SLOT_F_SCALAR;
	}
}

// The intrinsics give 32 bits; an offset that stands for "absent" needs all 64.
static void widen(LLVMValueRef value, LLVMValueRef wide)
{
	_cleanup_values_ struct lv_values users = lv_users(value);

	for (size_t i = 0; i < users.count; i++) {
		if (LLVMIsAZExtInst(users.v[i]) && LLVMTypeOf(users.v[i]) == LLVMTypeOf(wide))
			lv_replace(users.v[i], wide);
	}
}

// `value` leads, by address arithmetic at most, to the passthrough calls that close the access.
static void drop_passthrough(struct lv *lv, uint32_t index, LLVMValueRef value, LLVMValueRef wide)
{
	_cleanup_values_ struct lv_values users = lv_users(value);

	for (size_t i = 0; i < users.count; i++) {
		LLVMValueRef user = users.v[i];

		if (lv_starts(lv_callee(user), "llvm.bpf.passthrough")) {
			note_scalar_use(lv, index, user);
			widen(user, wide);
			lv_replace(user, LLVMGetOperand(user, 1));
		} else if (LLVMIsAGetElementPtrInst(user) || LLVMIsABitCastInst(user)) {
			drop_passthrough(lv, index, user, wide);
		}
	}
}

static void replace_load(struct lv *lv, LLVMValueRef load, uint32_t index)
{
	lv_before(lv, load);

	LLVMValueRef wide = lv_slot_value(lv, index);
	LLVMValueRef value = wide;

	if (LLVMTypeOf(load) != lv->i64)
		value = LLVMBuildTrunc(lv->builder, wide, LLVMTypeOf(load), "");
	widen(load, wide);
	drop_passthrough(lv, index, load, wide);
	lv_replace(load, value);
}

struct gs_error *lv_fields(struct lv *lv)
{
	struct gs_error *err = run_bpf_passes(lv);

	if (err)
		return err;

	// Loads in the order of the source, so that slots come in that order, too.
	_cleanup_values_ struct lv_values functions = lv_functions(lv);

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++) {
			LLVMValueRef global =
				LLVMIsALoadInst(list.v[j]) ? LLVMGetOperand(list.v[j], 0) : NULL;
			uint32_t index;

			if (!global || !LLVMIsAGlobalVariable(global) || !access_type(lv, global))
				continue;
			if (make_slot(lv, global, list.v[j], &index))
				replace_load(lv, list.v[j], index);
		}
	}
	return NULL;
}
