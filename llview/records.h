/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Rows, findings and metrics.
 */
#ifndef LLVIEW_RECORDS_H
#define LLVIEW_RECORDS_H

#include "overlap.h"
#include "provenance.h"

/** Turn a gs.record call in @p fn into calls of the runtime. @p overlap may be NULL. */
void lv_record_lower(struct lv *lv, struct lv_provenance *prov, const struct lv_overlap *overlap,
		     LLVMValueRef fn, LLVMValueRef call);

#endif
