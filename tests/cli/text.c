// SPDX-License-Identifier: Apache-2.0
// What a hostile machine may put on a terminal, and how numbers are shown.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"

static void check_escape(const char *in, size_t len, bool tabs, const char *out)
{
	char *buf = malloc(TEXT_ESCAPED_MAX(len) + 1);

	assert_non_null(buf);
	assert_int_equal(text_escape(buf, in, len, tabs), strlen(out));
	assert_string_equal(buf, out);
	free(buf);
}

static void control_characters_are_escaped(void **state)
{
	(void)state;
	check_escape("", 0, false, "");
	check_escape("kworker/0:1", 11, false, "kworker/0:1");
	check_escape("\033[2J", 4, false, "\\x1b[2J");
	check_escape("a\nb\rc\0d\177", 8, false, "a\\x0ab\\x0dc\\x00d\\x7f");
	check_escape("a\tb", 3, false, "a\\x09b");
	check_escape("a\tb", 3, true, "a\tb");
	// U+009B is CSI, in two bytes of UTF-8.
	check_escape("\xc2\x9b"
		     "2J",
		     4, false, "\\xc2\\x9b2J");
	check_escape("\xc2\xa0", 2, false, "\xc2\xa0");
}

static void bytes_that_are_not_utf8_are_escaped(void **state)
{
	(void)state;
	check_escape("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7", 15, false,
		     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7");
	check_escape("\xff", 1, false, "\\xff");
	// Cut within a sequence, as comm[16] may be.
	check_escape("\xe2\x82", 2, false, "\\xe2\\x82");
	check_escape("\xe2\x82x", 3, false, "\\xe2\\x82x");
	// Overlong, surrogate, beyond U+10FFFF.
	check_escape("\xc0\xaf", 2, false, "\\xc0\\xaf");
	check_escape("\xe0\x80\xaf", 3, false, "\\xe0\\x80\\xaf");
	check_escape("\xed\xa0\x80", 3, false, "\\xed\\xa0\\x80");
	check_escape("\xf4\x90\x80\x80", 4, false, "\\xf4\\x90\\x80\\x80");
}

static void long_text_is_not_torn(void **state)
{
	(void)state;

	// A character of two bytes at every possible place around the ends of the chunks.
	for (size_t before = 1000; before < 1030; before++) {
		char in[4096], *out = NULL;
		size_t size = 0;

		memset(in, 'x', sizeof(in));
		memcpy(in + before, "\xc3\xbc", 2);

		FILE *file = open_memstream(&out, &size);

		assert_non_null(file);
		text_print(file, in, sizeof(in), false);
		fclose(file);
		assert_int_equal(size, sizeof(in));
		assert_memory_equal(out, in, size);
		free(out);
	}
}

static void numbers_are_for_people(void **state)
{
	char buf[TEXT_NUMBER_MAX];

	(void)state;
#define CHECK(call, out)                         \
	do {                                     \
		call;                            \
		assert_string_equal(buf, (out)); \
	} while (0)
	CHECK(text_size(buf, 0), "0 B");
	CHECK(text_size(buf, 1023), "1023 B");
	CHECK(text_size(buf, 1024), "1.0 KiB");
	CHECK(text_size(buf, (1 << 20) - 1), "1.0 MiB");
	CHECK(text_size(buf, UINT64_MAX), "16.0 EiB");
	CHECK(text_cpu_time(buf, 0), "0:00.00");
	CHECK(text_cpu_time(buf, 61519999999), "1:01.51");
	CHECK(text_cpu_time(buf, UINT64_C(60000000000000)), "16h40m");
	CHECK(text_duration(buf, 1204999999), "1.20s");
	CHECK(text_duration(buf, UINT64_C(3599000000000)), "59m59s");
	CHECK(text_duration(buf, UINT64_C(86399000000000)), "23h59m");
	CHECK(text_duration(buf, UINT64_C(86400000000000)), "1d00h");
	CHECK(text_duration(buf, UINT64_MAX), "213503d23h");
	CHECK(text_grouped(buf, 0), "0");
	CHECK(text_grouped(buf, 999), "999");
	CHECK(text_grouped(buf, 94266), "94,266");
	CHECK(text_grouped(buf, UINT64_MAX), "18,446,744,073,709,551,615");
#undef CHECK
}

static void width_counts_code_points(void **state)
{
	(void)state;
	assert_int_equal(text_width(""), 0);
	assert_int_equal(text_width("gr\xc3\xbc\xc3\x9f"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_are_escaped),
		cmocka_unit_test(bytes_that_are_not_utf8_are_escaped),
		cmocka_unit_test(long_text_is_not_torn),
		cmocka_unit_test(numbers_are_for_people),
		cmocka_unit_test(width_counts_code_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
