// SPDX-License-Identifier: Apache-2.0
#include "ir.h"

struct gs_error *lv_optimize(struct lv *lv)
{
	struct gs_error *err = lv_run_passes(lv, "default<O2>");

	if (err)
		return err;
	return lv_run_passes(lv, "globaldce");
}
