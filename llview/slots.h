/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The slot table while it grows.
 */
#ifndef LLVIEW_SLOTS_H
#define LLVIEW_SLOTS_H

#include "llview.h"

/** BTF kinds (include/uapi/linux/btf.h). */
enum lv_btf_kind {
	LV_BTF_INT = 1,
	LV_BTF_PTR = 2,
	LV_BTF_ARRAY = 3,
	LV_BTF_STRUCT = 4,
	LV_BTF_UNION = 5,
	LV_BTF_ENUM = 6,
	LV_BTF_TYPEDEF = 8,
	LV_BTF_FUNC_PROTO = 13,
};

/** Index of @p slot, added if there is none like it. */
uint32_t lv_add_slot(struct lv *lv, const struct lv_slot *slot);

/** Cut `___flavor` off a type's name; true if it had one. */
bool lv_strip_flavor(char *name);

#endif
