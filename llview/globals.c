// SPDX-License-Identifier: Apache-2.0
#include "globals.h"

#include "diag.h"
#include "ir.h"
#include "ptrmap.h"

enum visit { UNSEEN, OPEN, DONE };

struct order {
	struct lv_ptrmap visits;
	/** Dependencies first. */
	struct lv_values sorted;
	/** A variable on a circle, or NULL. */
	LLVMValueRef circle;
};

static void visit(struct order *order, LLVMValueRef global);

static void visit_constant(struct order *order, LLVMValueRef constant)
{
	if (LLVMIsAGlobalVariable(constant)) {
		visit(order, constant);
		return;
	}
	if (LLVMIsAFunction(constant) || !LLVMIsAUser(constant))
		return;
	for (int i = 0; i < LLVMGetNumOperands(constant); i++)
		visit_constant(order, LLVMGetOperand(constant, i));
}

static void visit(struct order *order, LLVMValueRef global)
{
	unsigned int seen = lv_ptrmap_add(&order->visits, global)->number;

	if (seen == OPEN)
		order->circle = global;
	if (seen != UNSEEN || !LLVMGetInitializer(global))
		return;
	lv_ptrmap_add(&order->visits, global)->number = OPEN;
	visit_constant(order, LLVMGetInitializer(global));
	lv_ptrmap_add(&order->visits, global)->number = DONE;
	lv_push(order->sorted, global);
}

static struct order sort_globals(LLVMModuleRef module)
{
	struct order order = {};

	for (LLVMValueRef g = LLVMGetFirstGlobal(module); g; g = LLVMGetNextGlobal(g))
		visit(&order, g);
	return order;
}

static void order_deinit(struct order *order)
{
	free(order->visits.entries);
	free(order->sorted.v);
}

void lv_refuse_circles(struct lv *lv)
{
	struct order order = sort_globals(lv->module);

	if (order.circle) {
		_cleanup_place_ struct lv_place place = lv_place_of_global(lv, order.circle);
		size_t length;

		lv_error_at(
			lv, &place,
			"the initializer of %s leads back to it: assign the pointer in the detector",
			LLVMGetValueName2(order.circle, &length));
	}
	order_deinit(&order);
}

// A copy at the end of the module takes the old one's place.
static void move_to_end(LLVMModuleRef module, LLVMValueRef old)
{
	size_t length;
	LLVMValueRef fresh =
		LLVMAddGlobalInAddressSpace(module, LLVMGlobalGetValueType(old), "",
					    LLVMGetPointerAddressSpace(LLVMTypeOf(old)));

	LLVMSetInitializer(fresh, LLVMGetInitializer(old));
	LLVMSetGlobalConstant(fresh, LLVMIsGlobalConstant(old));
	LLVMSetLinkage(fresh, LLVMGetLinkage(old));
	LLVMSetAlignment(fresh, LLVMGetAlignment(old));
	LLVMSetUnnamedAddress(fresh, LLVMGetUnnamedAddress(old));
	LLVMReplaceAllUsesWith(old, fresh);

	_cleanup_free_ char *name = lv_format("%s", LLVMGetValueName2(old, &length));

	LLVMDeleteGlobal(old);
	LLVMSetValueName2(fresh, name, length);
}

void lv_order_globals(LLVMModuleRef module)
{
	struct order order = sort_globals(module);

	for (size_t i = 0; i < order.sorted.count; i++) {
		size_t length;

		if (!lv_starts(LLVMGetValueName2(order.sorted.v[i], &length), "llvm."))
			move_to_end(module, order.sorted.v[i]);
	}
	order_deinit(&order);
}
