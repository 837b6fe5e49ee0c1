// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"

static const char *const api[] = {
	"row",
	"finding",
	"metric",
	"__alarm_record",
	"now_ns",
	"run_count",
	"thread_index",
	"thread_count",
	"block_index",
	"block_count",
	"block_thread_index",
	"block_thread_count",
	"block_barrier",
	"block_sum",
	"block_min",
	"block_max",
	"block_any",
	"ram_pages",
	"ram_page",
};

static bool is_api(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(api); i++) {
		if (strcmp(name, api[i]) == 0)
			return true;
	}
	return false;
}

// Intrinsics that both machines compute without a library, and that touch no memory but what is
// checked.
// clang-format off
static const char *const intrinsics[] = {
	"llvm.abs.", "llvm.annotation.", "llvm.assume", "llvm.bitreverse.", "llvm.bpf.",
	"llvm.bswap.", "llvm.copysign.", "llvm.ctlz.", "llvm.ctpop.", "llvm.cttz.",
	"llvm.dbg.", "llvm.debugtrap", "llvm.expect.", "llvm.experimental.noalias.",
	"llvm.fabs.", "llvm.fptosi.sat.", "llvm.fptoui.sat.", "llvm.fshl.", "llvm.fshr.",
	"llvm.is.constant.", "llvm.lifetime.", "llvm.memcpy.", "llvm.memmove.", "llvm.memset.",
	"llvm.objectsize.", "llvm.preserve.", "llvm.ptrmask.", "llvm.sadd.", "llvm.scmp.",
	"llvm.smax.", "llvm.smin.", "llvm.smul.with.", "llvm.sqrt.", "llvm.ssub.", "llvm.trap",
	"llvm.uadd.", "llvm.ubsantrap", "llvm.ucmp.", "llvm.umax.", "llvm.umin.",
	"llvm.umul.with.", "llvm.usub.",
};
// clang-format on

static bool known_intrinsic(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(intrinsics); i++) {
		if (lv_starts(name, intrinsics[i]))
			return true;
	}
	return false;
}

static void refuse_intrinsic(struct lv *lv, LLVMValueRef call, const char *name)
{
	if (known_intrinsic(name))
		return;
	if (lv_starts(name, "llvm.va_"))
		lv_error(lv, call,
			 "a function of the detector takes variable arguments; give them names");
	else if (lv_starts(name, "llvm.stacksave") || lv_starts(name, "llvm.stackrestore"))
		return; // the array of variable length behind it is reported
	else
		lv_error(lv, call, "a detector cannot use the compiler's built-in function %s here",
			 name + strlen("llvm."));
}

static void refuse_call_early(struct lv *lv, LLVMValueRef call)
{
	LLVMValueRef callee = LLVMGetCalledValue(call);
	size_t length;

	if (LLVMIsAInlineAsm(callee)) {
		lv_error(lv, call,
			 "inline assembly: a detector runs on GPUs and CPUs, write it in C");
		return;
	}
	if (!LLVMIsAFunction(callee))
		return; // inlining may still resolve it

	const char *name = LLVMGetValueName2(callee, &length);

	if (LLVMGetIntrinsicID(callee))
		refuse_intrinsic(lv, call, name);
	else if (LLVMIsDeclaration(callee) && !is_api(name))
		lv_error(
			lv, call,
			"%s() has no body here: a detector can only call its own functions and those "
			"of detector.h",
			name);
}

static void refuse_instruction_early(struct lv *lv, LLVMValueRef inst)
{
	switch (LLVMGetInstructionOpcode(inst)) {
	case LLVMCall:
		refuse_call_early(lv, inst);
		break;
	case LLVMCallBr:
		lv_error(lv, inst, "asm goto: a detector runs on GPUs and CPUs, write it in C");
		break;
	case LLVMIndirectBr:
		lv_error(lv, inst, "computed goto: write a switch");
		break;
	case LLVMInvoke:
	case LLVMLandingPad:
		lv_error(lv, inst, "exceptions are not supported");
		break;
	case LLVMFRem:
		lv_error(lv, inst, "remainder of floating-point numbers is not supported");
		break;
	case LLVMAlloca:
		if (!LLVMIsAConstantInt(LLVMGetOperand(inst, 0)))
			lv_error(
				lv, inst,
				"array of variable length: give it the largest size that it can need");
		else if (LLVMGetInstructionParent(inst) !=
			 LLVMGetEntryBasicBlock(
				 LLVMGetBasicBlockParent(LLVMGetInstructionParent(inst))))
			lv_error(lv, inst,
				 "memory taken from the stack on the way: declare a variable");
		break;
	case LLVMUDiv:
	case LLVMSDiv:
	case LLVMURem:
	case LLVMSRem:
		if (LLVMGetTypeKind(LLVMTypeOf(inst)) == LLVMIntegerTypeKind &&
		    LLVMGetIntTypeWidth(LLVMTypeOf(inst)) > 64)
			lv_error(lv, inst, "division of 128-bit integers is not supported");
		break;
	default:
		break;
	}
}

// --- recursion ---

struct walk {
	struct lv *lv;
	/** Functions on the way from the first one to here, and those that are done. */
	struct lv_values stack, done;
};

static bool contains(const struct lv_values *list, LLVMValueRef value)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->v[i] == value)
			return true;
	}
	return false;
}

static void refuse_recursion(struct walk *walk, LLVMValueRef fn)
{
	lv_push(walk->stack, fn);

	_cleanup_values_ struct lv_values list = lv_instructions(fn);

	for (size_t i = 0; i < list.count; i++) {
		if (!LLVMIsACallInst(list.v[i]))
			continue;

		LLVMValueRef callee = LLVMGetCalledValue(list.v[i]);
		size_t length;

		if (!LLVMIsAFunction(callee) || LLVMIsDeclaration(callee))
			continue;
		if (contains(&walk->stack, callee))
			lv_error(
				walk->lv, list.v[i],
				"recursion: %s() is still running when it is called here; write a loop",
				LLVMGetValueName2(callee, &length));
		else if (!contains(&walk->done, callee))
			refuse_recursion(walk, callee);
	}
	walk->stack.count--;
	lv_push(walk->done, fn);
}

// --- globals ---

static void refuse_global(struct lv *lv, LLVMValueRef global)
{
	_cleanup_place_ struct lv_place place = lv_place_of_global(lv, global);
	const char *section = LLVMGetSection(global);
	bool ksym = section && strcmp(section, ".ksyms") == 0;
	bool param = section && strcmp(section, ".gs.param") == 0;
	size_t length;
	const char *name = LLVMGetValueName2(global, &length);

	if (lv_starts(name, "llvm."))
		return;
	if (LLVMIsThreadLocal(global))
		lv_error_at(lv, &place,
			    "%s is thread-local; use an array indexed by thread_index()", name);
	if (ksym && LLVMGetInitializer(global))
		lv_error_at(lv, &place,
			    "%s is a kernel symbol and cannot be defined here; declare it extern",
			    name);
	if (!ksym && !param && !LLVMGetInitializer(global) && LLVMGetFirstUse(global))
		lv_error_at(lv, &place,
			    "%s is not defined; a kernel symbol is declared with __ksym", name);
}

void lv_refuse_early(struct lv *lv)
{
	struct walk walk = { .lv = lv };
	_cleanup_values_ struct lv_values functions = lv_functions(lv);
	size_t length;

	LLVMGetModuleInlineAsm(lv->module, &length);
	if (length)
		lv_error_at(
			lv, &(struct lv_place){ .file = lv->options->sources[0] },
			"assembly outside of functions: a detector runs on GPUs and CPUs, write it in C");
	for (LLVMValueRef g = LLVMGetFirstGlobal(lv->module); g; g = LLVMGetNextGlobal(g))
		refuse_global(lv, g);
	for (LLVMValueRef a = LLVMGetFirstGlobalAlias(lv->module); a; a = LLVMGetNextGlobalAlias(a))
		lv_error_at(lv, &(struct lv_place){ .file = lv->options->sources[0] },
			    "%s: aliases are not supported", LLVMGetValueName2(a, &length));

	for (size_t i = 0; i < functions.count; i++) {
		_cleanup_values_ struct lv_values list = lv_instructions(functions.v[i]);

		for (size_t j = 0; j < list.count; j++)
			refuse_instruction_early(lv, list.v[j]);
		if (!contains(&walk.done, functions.v[i]))
			refuse_recursion(&walk, functions.v[i]);
	}
	free(walk.stack.v);
	free(walk.done.v);
}

static void refuse_call_late(struct lv *lv, LLVMValueRef call)
{
	LLVMValueRef callee = LLVMGetCalledValue(call);
	size_t length;

	if (!LLVMIsAFunction(callee)) {
		lv_error(
			lv, call,
			"indirect call: which function it calls must be known when it is compiled");
		return;
	}

	const char *name = LLVMGetValueName2(callee, &length);

	if (LLVMGetIntrinsicID(callee) || lv_starts(name, "gs.") || is_api(name))
		return;
	lv_error(lv, call, "%s() cannot be inlined into the detector", name);
}

// What each of many GPU threads has room for; a kernel stack is smaller.
enum { MAX_STACK = 64 << 10 };

static void refuse_big_stack(struct lv *lv, const struct lv_values *list)
{
	uint64_t total = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (!LLVMIsAAllocaInst(list->v[i]))
			continue;

		uint64_t count = LLVMConstIntGetZExtValue(LLVMGetOperand(list->v[i], 0));
		uint64_t bytes;

		if (__builtin_mul_overflow(lv_size(lv, LLVMGetAllocatedType(list->v[i])), count,
					   &bytes) ||
		    __builtin_add_overflow(total, bytes, &total) || total > MAX_STACK) {
			lv_error(lv, list->v[i],
				 "%llu bytes of local variables, at most %d fit on the stack; make "
				 "large ones static",
				 (unsigned long long)total, MAX_STACK);
			return;
		}
	}
}

void lv_refuse_late(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		_cleanup_values_ struct lv_values list =
			lv_instructions(lv->detectors.v[d].function);

		refuse_big_stack(lv, &list);
		for (size_t i = 0; i < list.count; i++) {
			if (LLVMIsACallInst(list.v[i]))
				refuse_call_late(lv, list.v[i]);
		}
	}
}
