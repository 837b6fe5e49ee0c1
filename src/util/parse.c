// SPDX-License-Identifier: Apache-2.0
#include "util/parse.h"

#include <string.h>

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static bool parse_digits(const char **text, unsigned int base, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	for (; digit_value(*p) < (int)base; p++) {
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_value(*p), &value))
			return false;
	}
	if (p == *text)
		return false;
	*text = p;
	*ret = value;
	return true;
}

bool gs_parse_hex(const char **text, uint64_t *ret)
{
	return parse_digits(text, 16, ret);
}

bool gs_parse_decimal(const char **text, uint64_t *ret)
{
	return parse_digits(text, 10, ret);
}

bool gs_parse_size(const char **text, uint64_t *ret)
{
	const char *p = *text;
	unsigned int base = 10;
	uint64_t value;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	} else if (p[0] == '0') {
		base = 8;
	}
	if (!parse_digits(&p, base, &value))
		return false;

	static const char suffixes[] = "kKmMgGtT";
	const char *suffix = *p ? strchr(suffixes, *p) : NULL;

	if (suffix) {
		uint64_t unit = UINT64_C(1) << (10 * ((suffix - suffixes) / 2 + 1));

		if (__builtin_mul_overflow(value, unit, &value))
			return false;
		p++;
	}
	*text = p;
	*ret = value;
	return true;
}

bool gs_parse_skip(const char **text, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*text, prefix, len) != 0)
		return false;
	*text += len;
	return true;
}
