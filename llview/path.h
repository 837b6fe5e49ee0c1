/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Access paths: clang numbers members, kernels only agree on names.
 */
#ifndef LLVIEW_PATH_H
#define LLVIEW_PATH_H

#include "md.h"

struct lv_path {
	/** ".se.sum_exec_runtime", ".cpu[3].x", "[2].y"; new memory. */
	char *text;
	/** Bytes of what it ends at; 0 if not known. */
	uint64_t size;
	/** Bytes, if it ends at an array of characters; else 0. */
	uint64_t chars;
	/** It ends at a bit field. */
	bool bitfield;
};

/** Name the path @p numbers ("0:92:3") from the root @p type. */
bool lv_path_parse(struct lv *lv, LLVMMetadataRef type, const char *numbers, struct lv_path *ret);

#endif
