/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Numbers out of text, with overflow checked.
 */
#ifndef GS_UTIL_PARSE_H
#define GS_UTIL_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Read hexadecimal digits without prefix.
 *
 * @param text Moved behind the last digit on success.
 * @return false if no digit is there or the number needs more than 64 bits.
 */
bool gs_parse_hex(const char **text, uint64_t *ret);

/** Read decimal digits; otherwise as gs_parse_hex(). */
bool gs_parse_decimal(const char **text, uint64_t *ret);

/**
 * Read a number of bytes in C notation (decimal, 0x hexadecimal, 0 octal) with an optional suffix
 * K, M, G or T (powers of 1024, either case); otherwise as gs_parse_hex().
 */
bool gs_parse_size(const char **text, uint64_t *ret);

/** Move @p text behind @p prefix if it begins with it. */
bool gs_parse_skip(const char **text, const char *prefix);

#endif
