// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/array.h"

size_t utf8_length(const char *s, size_t left)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (!left)
		return 0;
	if (p[0] < 0x80)
		return 1;
	// RFC 3629, section 4: neither overlong forms, nor surrogates, nor beyond U+10FFFF.
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		low = p[0] == 0xe0 ? 0xa0 : low;
		high = p[0] == 0xed ? 0x9f : high;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		low = p[0] == 0xf0 ? 0x90 : low;
		high = p[0] == 0xf4 ? 0x8f : high;
	} else {
		return 0;
	}
	if (left < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return len;
}

// Control characters: C0, DEL, and C1 in UTF-8, which some terminals obey too.
static bool is_control(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	if (len == 1)
		return p[0] < 0x20 || p[0] == 0x7f;
	return len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

size_t text_escape(char *out, const char *s, size_t len, bool tabs)
{
	static const char digits[] = "0123456789abcdef";
	char *start = out;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_length(s + i, len - i);

		if (n && (!is_control(s + i, n) || (tabs && s[i] == '\t'))) {
			memcpy(out, s + i, n);
			out += n;
			i += n;
			continue;
		}
		for (n = n ? n : 1; n; n--, i++) {
			*out++ = '\\';
			*out++ = 'x';
			*out++ = digits[(unsigned char)s[i] >> 4];
			*out++ = digits[(unsigned char)s[i] & 15];
		}
	}
	*out = 0;
	return out - start;
}

void text_print(FILE *file, const char *s, size_t len, bool tabs)
{
	enum { CHUNK = 1024 };
	char buf[TEXT_ESCAPED_MAX(CHUNK) + 1];

	while (len) {
		size_t n = len < CHUNK ? len : CHUNK;

		// A sequence must not be torn: one that would be goes into the next chunk.
		while (n < len && n > CHUNK - 4 && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
		fwrite(buf, 1, text_escape(buf, s, n, tabs), file);
		s += n;
		len -= n;
	}
}

size_t text_width(const char *s)
{
	size_t width = 0;

	for (; *s; s++)
		width += ((unsigned char)*s & 0xc0) != 0x80;
	return width;
}

void text_size(char buf[TEXT_NUMBER_MAX], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t tenths;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 " B", bytes);
		return;
	}
	// In whole numbers, since a process list has thousands of these; 1023.95 rounds up into the next unit.
	for (;; unit++, bytes >>= 10) {
		tenths = (bytes >> 10) * 10 + ((bytes & 1023) * 10 + 512) / 1024;
		if (tenths < 10240 || unit + 1 == ARRAY_SIZE(units))
			break;
	}
	snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 ".%u %s", tenths / 10,
		 (unsigned int)(tenths % 10), units[unit]);
}

void text_cpu_time(char buf[TEXT_NUMBER_MAX], uint64_t ns)
{
	uint64_t hundredths = ns / 10000000, minutes = hundredths / 6000;

	if (minutes < 1000) {
		snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 ":%02u.%02u", minutes,
			 (unsigned int)(hundredths / 100 % 60), (unsigned int)(hundredths % 100));
		return;
	}
	snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 "h%02um", minutes / 60,
		 (unsigned int)(minutes % 60));
}

void text_duration(char buf[TEXT_NUMBER_MAX], uint64_t ns)
{
	uint64_t s = ns / 1000000000;

	if (s < 60)
		snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 ".%02us", s,
			 (unsigned int)(ns / 10000000 % 100));
	else if (s < 3600)
		snprintf(buf, TEXT_NUMBER_MAX, "%um%02us", (unsigned int)(s / 60),
			 (unsigned int)(s % 60));
	else if (s < 86400)
		snprintf(buf, TEXT_NUMBER_MAX, "%uh%02um", (unsigned int)(s / 3600),
			 (unsigned int)(s / 60 % 60));
	else
		snprintf(buf, TEXT_NUMBER_MAX, "%" PRIu64 "d%02uh", s / 86400,
			 (unsigned int)(s / 3600 % 24));
}

void text_grouped(char buf[TEXT_NUMBER_MAX], uint64_t value)
{
	char digits[TEXT_NUMBER_MAX];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, value);

	for (int i = 0; i < n; i++) {
		*buf++ = digits[i];
		if (i + 1 < n && (n - i - 1) % 3 == 0)
			*buf++ = ',';
	}
	*buf = 0;
}

void text_wall(char buf[TEXT_NUMBER_MAX], uint64_t wall_ns)
{
	time_t seconds = wall_ns / 1000000000;
	struct tm tm = {};

	localtime_r(&seconds, &tm);

	size_t n = strftime(buf, TEXT_NUMBER_MAX, "%Y-%m-%d %H:%M:%S", &tm);

	snprintf(buf + n, TEXT_NUMBER_MAX - n, ".%03u", (unsigned int)(wall_ns / 1000000 % 1000));
}

bool text_colour(FILE *file)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fileno(file)) && !(no && *no) && term && strcmp(term, "dumb");
}
