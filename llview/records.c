// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <string.h>

#include <gpusentinel/record.h>

#include "diag.h"
#include "format.h"
#include "ir.h"

// gs.record(kind, severity, format, count, {max, value}...): max 0: an i64; else a string of at
// most max bytes.
enum { RECORD_FIXED = 4 };

enum { NO_OPERAND = UINT32_MAX };

static const struct {
	const char *name;
	enum gs_record_kind kind;
	/** Operands: severity, format, the items that its conversions do not show, and the first that they do. */
	unsigned int severity, format, hidden[GS_ALARM_ITEMS], hidden_count, first;
} functions[] = {
	{ "row", GS_RECORD_ROW, NO_OPERAND, 0, {}, 0, 1 },
	{ "finding", GS_RECORD_FINDING, 0, 1, {}, 0, 2 },
	{ "metric", GS_RECORD_METRIC, NO_OPERAND, 0, { 1 }, 1, 2 },
	{ "__alarm_record", GS_RECORD_ALARM, 1, 4, { 0, 2, 3 }, GS_ALARM_ITEMS, 5 },
};

struct record {
	struct lv *lv;
	LLVMValueRef call;
	struct lv_values out;
	/** Next operand of the call, and their number. */
	unsigned int next, count;
};

// Bytes of the character array that `pointer` is the start of, if it is a field; else 0.
static uint64_t field_chars(struct lv *lv, LLVMValueRef pointer)
{
	while (LLVMIsAGetElementPtrInst(pointer)) {
		LLVMValueRef last = LLVMGetOperand(pointer, LLVMGetNumOperands(pointer) - 1);

		if (strcmp(lv_callee(last), "gs.slot") == 0)
			return lv->slots.v[LLVMConstIntGetZExtValue(LLVMGetOperand(last, 0))].chars;
		for (int i = 1; i < LLVMGetNumOperands(pointer); i++) {
			LLVMValueRef index = LLVMGetOperand(pointer, i);

			if (!LLVMIsAConstantInt(index) || LLVMConstIntGetZExtValue(index))
				return 0;
		}
		pointer = LLVMGetOperand(pointer, 0);
	}
	return 0;
}

static void push_string(struct record *r, LLVMValueRef value,
			const struct lv_conversion *conversion)
{
	uint64_t max = GS_RECORD_MAX_STRING;
	uint64_t chars = field_chars(r->lv, value);

	if (chars && chars < max)
		max = chars;
	if (conversion->precision >= 0 && (uint64_t)conversion->precision < max)
		max = conversion->precision;
	// 0 would say that it is a number; a precision of zero shows nothing anyway.
	lv_push(r->out, lv_u64(r->lv, max ? max : 1));
	lv_push(r->out, value);
}

static LLVMValueRef widen(struct record *r, LLVMValueRef value,
			  const struct lv_conversion *conversion)
{
	struct lv *lv = r->lv;
	bool sign = conversion->conversion == 'd';
	unsigned int narrow = conversion->conversion == 'c' ? 8 : conversion->narrow;

	if (LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMPointerTypeKind)
		return LLVMBuildPtrToInt(lv->builder, value, lv->i64, "");
	if (narrow)
		value = LLVMBuildIntCast2(lv->builder, value,
					  LLVMIntTypeInContext(lv->llvm, narrow), sign, "");
	return LLVMBuildIntCast2(lv->builder, value, lv->i64, sign, "");
}

static void push_item(struct record *r, const struct lv_conversion *conversion, unsigned int number)
{
	LLVMValueRef value = LLVMGetOperand(r->call, r->next++);
	LLVMTypeKind kind = LLVMGetTypeKind(LLVMTypeOf(value));
	bool number_ok = kind == LLVMIntegerTypeKind || kind == LLVMPointerTypeKind;

	if (conversion->conversion == 's'   ? kind != LLVMPointerTypeKind
	    : conversion->conversion == 'f' ? kind != LLVMDoubleTypeKind
					    : !number_ok) {
		lv_error(r->lv, r->call, "argument %u does not fit its conversion %%%c", number,
			 conversion->conversion);
		return;
	}
	if (conversion->conversion == 's') {
		push_string(r, value, conversion);
		return;
	}
	lv_push(r->out, lv_u64(r->lv, 0));
	lv_push(r->out, conversion->conversion == 'f'
				? LLVMBuildBitCast(r->lv->builder, value, r->lv->i64, "")
				: widen(r, value, conversion));
}

static void push_items(struct record *r, const char *format)
{
	struct lv_conversion conversion;
	const char *wrong;
	unsigned int number = 0;

	while (lv_format_next(&format, &conversion, &wrong)) {
		number++;
		if (r->next >= r->count) {
			lv_error(r->lv, r->call,
				 "the format has more conversions than there are arguments");
			return;
		}
		push_item(r, &conversion, number);
	}
	if (wrong)
		lv_error(r->lv, r->call, "%s", wrong);
	else if (r->next < r->count)
		lv_error(r->lv, r->call,
			 "there are more arguments than the format has conversions");
}

static uint32_t add_format(struct lv *lv, LLVMValueRef call, const char *text,
			   enum gs_record_kind kind, uint32_t nargs)
{
	struct gs_fat_format format = {
		.format = lv_string(lv, text),
		.kind = kind,
		.site = lv_site(lv, call),
		.nargs = nargs,
	};

	for (size_t i = 0; i < lv->formats.count; i++) {
		if (memcmp(&lv->formats.v[i], &format, sizeof(format)) == 0)
			return i;
	}
	lv_push(lv->formats, format);
	return lv->formats.count - 1;
}

static void emit_placeholder(struct record *r, enum gs_record_kind kind, LLVMValueRef severity,
			     const char *text)
{
	struct lv *lv = r->lv;
	uint32_t nargs = (r->out.count - RECORD_FIXED) / 2;
	LLVMTypeRef fixed[RECORD_FIXED] = { lv->i32, lv->i32, lv->i32, lv->i32 };
	LLVMTypeRef type = LLVMFunctionType(lv->void_type, fixed, RECORD_FIXED, true);

	if (nargs > GS_RECORD_MAX_ARGS) {
		lv_error(lv, r->call, "%u items; a record has at most %d", nargs,
			 GS_RECORD_MAX_ARGS);
		return;
	}
	r->out.v[0] = lv_u32(lv, kind);
	r->out.v[1] = severity;
	r->out.v[2] = lv_u32(lv, add_format(lv, r->call, text, kind, nargs));
	r->out.v[3] = lv_u32(lv, nargs);
	LLVMBuildCall2(lv->builder, type, lv_declare(lv, "gs.record", type), r->out.v, r->out.count,
		       "");
}

static void make_record(struct lv *lv, LLVMValueRef call, size_t which)
{
	enum gs_record_kind kind = functions[which].kind;
	_cleanup_free_ char *text = lv_constant_text(LLVMGetOperand(call, functions[which].format));
	struct record r = {
		.lv = lv,
		.call = call,
		.next = functions[which].first,
		.count = LLVMGetNumArgOperands(call),
	};

	lv_before(lv, call);
	unsigned int operand = functions[which].severity;
	LLVMValueRef severity =
		operand == NO_OPERAND ? lv_u32(lv, 0) : LLVMGetOperand(call, operand);

	for (int i = 0; i < RECORD_FIXED; i++)
		lv_push(r.out, NULL);
	if (!text) {
		lv_error(lv, call, "the format of %s() must be a string constant",
			 functions[which].name);
	} else {
		for (unsigned int i = 0; i < functions[which].hidden_count; i++) {
			LLVMValueRef item = LLVMGetOperand(call, functions[which].hidden[i]);

			lv_push(r.out, lv_u64(lv, 0));
			lv_push(r.out, LLVMBuildIntCast2(lv->builder, item, lv->i64, false, ""));
		}
		push_items(&r, text);
		emit_placeholder(&r, kind, severity, text);
	}
	LLVMInstructionEraseFromParent(call);
	free(r.out.v);
}

void lv_records(struct lv *lv)
{
	for (size_t d = 0; d < lv->detectors.count; d++) {
		_cleanup_values_ struct lv_values list =
			lv_instructions(lv->detectors.v[d].function);

		for (size_t i = 0; i < list.count; i++) {
			const char *callee = lv_callee(list.v[i]);

			for (size_t f = 0; f < ARRAY_SIZE(functions); f++) {
				if (strcmp(callee, functions[f].name) == 0) {
					make_record(lv, list.v[i], f);
					break;
				}
			}
		}
	}
}
