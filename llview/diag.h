/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Places in the author's source, and messages about them.
 */
#ifndef LLVIEW_DIAG_H
#define LLVIEW_DIAG_H

#include "md.h"

/** A place; every member may be empty. */
struct lv_place {
	/** Path as given to the compiler; the directory to which it is relative. */
	char *file, *directory;
	char *function;
	unsigned int line, column;
};

void lv_cleanup_place(struct lv_place *place);

#define _cleanup_place_ _cleanup_(lv_cleanup_place)

/** Where @p inst comes from; if it does not say, its neighbours or its function. */
struct lv_place lv_place_of(struct lv *lv, LLVMValueRef inst);

/** Where a function or global variable is declared. */
struct lv_place lv_place_of_global(struct lv *lv, LLVMValueRef global);

/** Print "file:line:column: error: ..." with source line and caret, and count it. */
void lv_error_at(struct lv *lv, const struct lv_place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** lv_error_at() for the place of an instruction. */
void lv_error(struct lv *lv, LLVMValueRef inst, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Index of a place in the manifest's sites. */
uint32_t lv_site_at(struct lv *lv, const struct lv_place *place);

/** Index of an instruction's place. */
uint32_t lv_site(struct lv *lv, LLVMValueRef inst);

#endif
