// SPDX-License-Identifier: Apache-2.0
#include "format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_digits(const char *p)
{
	while (isdigit((unsigned char)*p))
		p++;
	return p;
}

static const char *parse_size(const char *p, struct lv_conversion *ret)
{
	if (p[0] == 'h') {
		ret->narrow = p[1] == 'h' ? 8 : 16;
		return p + (p[1] == 'h' ? 2 : 1);
	}
	if (p[0] == 'l')
		return p + (p[1] == 'l' ? 2 : 1);
	return *p && strchr("zjt", *p) ? p + 1 : p;
}

static const char *parse_conversion(const char *p, struct lv_conversion *ret)
{
	switch (*p) {
	case 'i':
		ret->conversion = 'd';
		break;
	case 'X':
		ret->conversion = 'x';
		break;
	case 'F':
	case 'E':
	case 'G':
	case 'e':
	case 'g':
		ret->conversion = 'f';
		break;
	case 'd':
	case 'u':
	case 'x':
	case 'o':
	case 'c':
	case 's':
	case 'f':
		ret->conversion = *p;
		break;
	case 'p':
		ret->conversion = 'p';
		// %pS, symbol and offset, as in the kernel's printk.
		return p + (p[1] == 'S' ? 2 : 1);
	default:
		return NULL;
	}
	return p + 1;
}

bool lv_format_next(const char **format, struct lv_conversion *ret, const char **ret_error)
{
	const char *p = *format;

	*ret_error = NULL;
	for (;;) {
		p = strchr(p, '%');
		if (!p) {
			*format += strlen(*format);
			return false;
		}
		if (p[1] != '%')
			break;
		p += 2;
	}

	*ret = (struct lv_conversion){ .precision = -1 };
	p++;
	p += strspn(p, "-+ #0");
	p = skip_digits(p);
	if (*p == '.') {
		ret->precision = strtol(p + 1, NULL, 10);
		p = skip_digits(p + 1);
	}
	if (*p == '*') {
		*ret_error = "'*' in the format: width and precision must be numbers";
		return false;
	}
	p = parse_conversion(parse_size(p, ret), ret);
	if (!p) {
		*ret_error =
			"conversion in the format is not supported; there are d i u x o c s p f e g and %pS";
		return false;
	}
	*format = p;
	return true;
}
