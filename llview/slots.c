// SPDX-License-Identifier: Apache-2.0
#include "slots.h"

#include <string.h>

bool lv_strip_flavor(char *name)
{
	char *flavor = strstr(name, "___");

	if (!flavor || flavor == name)
		return false;
	*flavor = 0;
	return true;
}

uint32_t lv_add_slot(struct lv *lv, const struct lv_slot *slot)
{
	for (size_t i = 0; i < lv->slots.count; i++) {
		struct lv_slot *old = &lv->slots.v[i];

		if (old->fat.kind != slot->fat.kind || old->fat.type_kind != slot->fat.type_kind ||
		    old->fat.name != slot->fat.name || old->fat.path != slot->fat.path)
			continue;
		// Another flavor may see it otherwise; one that is reached without a flavor must be
		// there.
		old->flavor &= slot->flavor;
		return i;
	}
	lv_push(lv->slots, *slot);
	return lv->slots.count - 1;
}

static bool is_field(const struct gs_fat_slot *slot)
{
	return slot->kind <= GS_SLOT_FIELD_RSHIFT;
}

static bool path_within(const char *path, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(path, prefix, length) == 0 &&
	       (!path[length] || path[length] == '.' || path[length] == '[');
}

// The detector asks whether `slot` is there before it relies on it.
static bool asked_for(struct lv *lv, const struct gs_fat_slot *slot)
{
	const char *strings = lv->strings.v;

	for (size_t i = 0; i < lv->slots.count; i++) {
		const struct gs_fat_slot *question = &lv->slots.v[i].fat;

		if (question->name != slot->name)
			continue;
		switch (question->kind) {
		case GS_SLOT_FIELD_EXISTS:
			if (is_field(slot) &&
			    path_within(strings + slot->path, strings + question->path))
				return true;
			break;
		case GS_SLOT_TYPE_EXISTS:
		case GS_SLOT_TYPE_MATCHES:
			if (slot->kind != GS_SLOT_SYMBOL)
				return true;
			break;
		case GS_SLOT_ENUMVAL_EXISTS:
			if (slot->kind == GS_SLOT_ENUMVAL_VALUE && slot->path == question->path)
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

void lv_slots_finish(struct lv *lv)
{
	for (size_t i = 0; i < lv->slots.count; i++) {
		struct lv_slot *slot = &lv->slots.v[i];

		if (slot->fat.kind != GS_SLOT_SYMBOL && (slot->flavor || asked_for(lv, &slot->fat)))
			slot->fat.flags |= GS_SLOT_F_OPTIONAL;
	}
}
