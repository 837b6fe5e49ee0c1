// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "diag.h"
#include "ir.h"
#include "slots.h"

static bool in_section(LLVMValueRef global, const char *wanted)
{
	const char *section = LLVMGetSection(global);

	return section && strcmp(section, wanted) == 0;
}

// A loop over its uses that may delete them.
static void replace_loads(struct lv *lv, LLVMValueRef param, uint32_t slot)
{
	_cleanup_values_ struct lv_values users = lv_users(param);
	size_t length;

	for (size_t i = 0; i < users.count; i++) {
		LLVMValueRef load = users.v[i];

		if (!LLVMIsALoadInst(load) || LLVMTypeOf(load) != lv->i64) {
			_cleanup_place_ struct lv_place place =
				LLVMIsAInstruction(load) ? lv_place_of(lv, load)
							 : lv_place_of_global(lv, param);

			lv_error_at(lv, &place,
				    "%s is a parameter: nothing but its value can be taken",
				    LLVMGetValueName2(param, &length));
			return;
		}
		lv_before(lv, load);
		lv_replace(load, lv_param_value(lv, slot));
	}
}

// One slot for each, whether it is used or not: who runs the detector sees what there is.
static void add_param(struct lv *lv, LLVMValueRef def)
{
	_cleanup_place_ struct lv_place place = lv_place_of_global(lv, def);
	LLVMValueRef init = LLVMGetInitializer(def);
	_cleanup_free_ char *name = lv_constant_text(LLVMGetAggregateElement(init, 0));
	_cleanup_free_ char *description = lv_constant_text(LLVMGetAggregateElement(init, 1));
	LLVMValueRef value = LLVMGetAggregateElement(init, 2);

	if (!name || !description || !LLVMIsAConstantInt(value)) {
		lv_error_at(lv, &place, "PARAM() takes a name, a constant number, and a text");
		return;
	}

	struct lv_slot slot = {
		.fat = {
			.kind = GS_SLOT_PARAM,
			.name = lv_string(lv, name),
			.path = lv_string(lv, description),
			.site = lv_site_at(lv, &place),
			.local_size = 8,
			.local_value = LLVMConstIntGetZExtValue(value),
		},
	};

	for (size_t i = 0; i < lv->slots.count; i++) {
		const struct gs_fat_slot *other = &lv->slots.v[i].fat;

		// A header that several files include says it more than once.
		if (other->kind == GS_SLOT_PARAM && other->name == slot.fat.name &&
		    (other->path != slot.fat.path || other->local_value != slot.fat.local_value))
			lv_error_at(lv, &place, "there are two parameters %s that differ", name);
	}

	uint32_t index = lv_add_slot(lv, &slot);
	LLVMValueRef param = LLVMGetNamedGlobal(lv->module, name);

	if (param && in_section(param, ".gs.param"))
		replace_loads(lv, param, index);
}

void lv_params(struct lv *lv)
{
	struct lv_values defs = {};

	for (LLVMValueRef g = LLVMGetFirstGlobal(lv->module); g; g = LLVMGetNextGlobal(g)) {
		if (in_section(g, ".gs.params") && LLVMGetInitializer(g))
			lv_push(defs, g);
	}
	for (size_t i = 0; i < defs.count; i++)
		add_param(lv, defs.v[i]);
	lv_cleanup_values(&defs);
}
