/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * printf formats, as far as records have them (gs_fat_format says which).
 */
#ifndef LLVIEW_FORMAT_H
#define LLVIEW_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

struct lv_conversion {
	/** 'd', 'u', 'x', ...; 'i' is 'd'. */
	char conversion;
	/** Bits that h and hh leave of an int; 0: as given. */
	unsigned int narrow;
	/** Precision; -1 if there is none. */
	long precision;
};

/**
 * Read the next conversion.
 *
 * @param format Moved behind it; at the end of the text if there is none.
 * @param ret_error What is wrong with it, or NULL.
 * @return false at the end or on an error.
 */
bool lv_format_next(const char **format, struct lv_conversion *ret, const char **ret_error);

#endif
