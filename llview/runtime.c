// SPDX-License-Identifier: Apache-2.0
#include "runtime.h"

#include "ir.h"

LLVMValueRef lv_rt(struct lv *lv, LLVMValueRef fn, const char *name, LLVMTypeRef ret,
		   LLVMValueRef *args, unsigned int count)
{
	_cleanup_free_ char *symbol = lv_format("gs_rt_%s", name);
	LLVMValueRef all[8] = { LLVMGetParam(fn, 0) };

	for (unsigned int i = 0; i < count; i++)
		all[i + 1] = args[i];
	return lv_call(lv, symbol, ret, all, count + 1);
}

LLVMValueRef lv_rt_load(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits)
{
	char name[16];

	snprintf(name, sizeof(name), "load%u", bits);
	return lv_rt(lv, fn, name, LLVMIntTypeInContext(lv->llvm, bits), &address, 1);
}

LLVMValueRef lv_rt_again(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits)
{
	char name[16];

	snprintf(name, sizeof(name), "again%u", bits);
	return lv_rt(lv, fn, name, LLVMIntTypeInContext(lv->llvm, bits), &address, 1);
}

LLVMValueRef lv_rt_once(struct lv *lv, LLVMValueRef fn, LLVMValueRef address, unsigned int bits)
{
	char name[16];

	snprintf(name, sizeof(name), "once%u", bits);
	return lv_rt(lv, fn, name, LLVMIntTypeInContext(lv->llvm, bits), &address, 1);
}

void lv_rt_copy(struct lv *lv, LLVMValueRef fn, LLVMValueRef local, LLVMValueRef address,
		LLVMValueRef bytes)
{
	LLVMValueRef args[] = { local, address, bytes };

	lv_rt(lv, fn, "copy", lv->void_type, args, 3);
}
