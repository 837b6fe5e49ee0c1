// SPDX-License-Identifier: Apache-2.0
// Formats: columns, conversions, escapes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/format.h"

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "schedule+0x%llx/0x120", (unsigned long long)address);
}

static struct format *parse(const char *text, uint32_t kind)
{
	struct format *format;
	struct gs_error *err = format_parse(text, kind, &format);

	if (err)
		fail_msg("%s: %s", text, err->message);
	return format;
}

static void check(const char *conversion, struct format_value value, const char *expected)
{
	struct format *format = parse(conversion, GS_RECORD_ROW);
	struct text text = {};

	assert_int_equal(format->count, 1);
	format_add_item(&format->items[0], &value, symbolize, NULL, &text);
	assert_string_equal(text.data, expected);
	free(text.data);
	format_destroy(format);
}

static void check_number(const char *conversion, uint64_t u, const char *expected)
{
	check(conversion, (struct format_value){ .u = u }, expected);
}

static void check_string(const char *conversion, const char *bytes, const char *expected)
{
	check(conversion, (struct format_value){ .bytes = bytes, .length = strlen(bytes) },
	      expected);
}

static void columns_take_their_names_from_the_format(void **state)
{
	struct format *format =
		parse("pid=%d ppid =%d, comm=%-16s %x load=%u.%02u 100%% =%d", GS_RECORD_ROW);
	static const char *const names[] = { "pid", "c2", "comm", "c4", "load", "c6", "c7" };

	(void)state;
	assert_int_equal(format->count, 7);
	for (size_t i = 0; i < 7; i++)
		assert_string_equal(format->items[i].name, names[i]);
	assert_string_equal(format->items[6].literal, " 100% =");
	format_destroy(format);
}

static void metrics_begin_with_their_value(void **state)
{
	struct format *format = parse("cpu_idle_ns{cpu=\"%d\"}", GS_RECORD_METRIC);

	(void)state;
	assert_int_equal(format->count, 2);
	assert_string_equal(format->items[0].name, "value");
	assert_int_equal(format->items[0].type, GS_ITEM_UINT);
	assert_int_equal(format->items[0].conversion, 0);
	assert_string_equal(format->items[1].name, "cpu");
	assert_string_equal(format->items[1].literal, "cpu_idle_ns{cpu=\"");
	assert_string_equal(format->tail, "\"}");
	format_destroy(format);
}

static void conditions_begin_with_their_table(void **state)
{
	struct format *format = parse("hung: waits: pid=%d %x", GS_RECORD_ALARM);
	struct gs_error *err;

	(void)state;
	assert_string_equal(format->name, "hung");
	assert_int_equal(format->hidden, GS_ALARM_ITEMS);
	assert_int_equal(format->count, GS_ALARM_ITEMS + 2);
	for (size_t i = 0; i < GS_ALARM_ITEMS; i++)
		assert_int_equal(format->items[i].conversion, 0);
	assert_string_equal(format->items[GS_ALARM_ITEMS].literal, "waits: pid=");
	assert_string_equal(format->items[GS_ALARM_ITEMS].name, "pid");
	assert_string_equal(format->items[GS_ALARM_ITEMS + 1].name, "c2");
	format_destroy(format);

	static const char *const wrong[] = {
		"", "waits", ": waits", "hung:", "a b: waits", "%d: "
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		err = format_parse(wrong[i], GS_RECORD_ALARM, &format);
		assert_non_null(err);
		gs_error_destroy(err);
	}
}

static void integers_have_their_size(void **state)
{
	(void)state;
	check_number("%d", (uint64_t)-1, "-1");
	check_number("%d", UINT64_C(0xdeadbeef00000005), "5");
	check_number("%u", (uint64_t)-1, "4294967295");
	check_number("%lu", (uint64_t)-1, "18446744073709551615");
	check_number("%lld", UINT64_C(1) << 63, "-9223372036854775808");
	check_number("%zu", 7, "7");
	check_number("%hhd", 0x1ff, "-1");
	check_number("%hu", 0x12345, "9029");
	check_number("%x", (uint64_t)-1, "ffffffff");
	check_number("%#llx", 255, "0xff");
	check_number("%o", 8, "10");
	check_number("%X", 255, "FF");
	check_number("%5d", 42, "   42");
	check_number("%-5d", 42, "42   ");
	check_number("%05d", -42, "-0042");
	check_number("%+d", 42, "+42");
	check_number("%.3d", 7, "007");
	check_number("%u", 0, "0");
}

static void characters_and_pointers(void **state)
{
	(void)state;
	check_number("%c", 'R', "R");
	check_number("%c", 0x1b, "\\x1b");
	check_number("%p", UINT64_C(0xffffffff81000000), "0xffffffff81000000");
	check_number("%p", 0, "0x0");
	check_number("%-6p", 0, "0x0   ");
	check_number("%pS", 0x45, "schedule+0x45/0x120");
	check_number("%25pS", 0x45, "      schedule+0x45/0x120");
}

static void doubles(void **state)
{
	double d = 1.5;
	uint64_t bits;

	(void)state;
	memcpy(&bits, &d, sizeof(bits));
	check_number("%.2f", bits, "1.50");
	check_number("%g", bits, "1.5");
	check_number("%e", bits, "1.500000e+00");
	d = -1e308;
	memcpy(&bits, &d, sizeof(bits));

	struct format *format = parse("%1024.1024f", GS_RECORD_ROW);
	struct text text = {};
	struct format_value value = { .u = bits };

	format_add_item(&format->items[0], &value, symbolize, NULL, &text);
	assert_int_equal(text.size, 1 + 309 + 1 + 1024);
	free(text.data);
	format_destroy(format);
}

static void strings_are_padded_by_what_is_seen(void **state)
{
	(void)state;
	check_string("%s", "bash", "bash");
	check_string("%s", "", "");
	check_string("%6s", "bash", "  bash");
	check_string("%-6s", "bash", "bash  ");
	check_string("%.2s", "bash", "ba");
	check_string("%-6s", "b\xc3\xa4sh", "b\xc3\xa4sh  ");
	check_string("%-6s", "a\n", "a\\x0a ");
}

static void control_characters_and_broken_utf8_are_escaped(void **state)
{
	(void)state;
	check_string("%s", "\033[2Jx\x7f", "\\x1b[2Jx\\x7f");
	check_string("%s", "a\tb\r\n", "a\\x09b\\x0d\\x0a");
	check_string("%s", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
	check_string("%s", "\xe2\x82\xac \xf0\x9f\x90\xa7", "\xe2\x82\xac \xf0\x9f\x90\xa7");
	// Alone, cut, overlong, a surrogate, too large, a control character of two bytes.
	check_string("%s", "\x80", "\\x80");
	check_string("%s", "\xe2\x82", "\\xe2\\x82");
	check_string("%s", "\xc0\xaf", "\\xc0\\xaf");
	check_string("%s", "\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	check_string("%s", "\xed\xa0\x80", "\\xed\\xa0\\x80");
	check_string("%s", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	check_string("%s", "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
	check_string("%s", "\xc2\x9b", "\\xc2\\x9b");
}

static void a_final_newline_is_dropped(void **state)
{
	struct format *format = parse("%d ok\n", GS_RECORD_ROW);

	(void)state;
	assert_string_equal(format->tail, " ok");
	format_destroy(format);
	format = parse("a\nb", GS_RECORD_ROW);
	assert_string_equal(format->tail, "a\\x0ab");
	assert_int_equal(format->count, 0);
	format_destroy(format);
	format = parse("", GS_RECORD_ROW);
	assert_string_equal(format->tail, "");
	format_destroy(format);
}

static void unknown_conversions_are_refused(void **state)
{
	static const char *const bad[] = {
		"%",	   "%n",  "%*d",	   "%-",   "%5",
		"%.",	   "%ll", "x %",	   "%\n",  "%99999d",
		"%.1025f", "%y",  "%99999999999d", "%1$d", "%a",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct format *format;
		struct gs_error *err = format_parse(bad[i], GS_RECORD_ROW, &format);

		assert_non_null(err);
		assert_int_equal(err->code, GS_ERROR_DETECTOR);
		gs_error_destroy(err);
	}
}

static void formats_have_a_largest_number_of_items(void **state)
{
	char text[2 * (GS_RECORD_MAX_ARGS + 1) + 1] = "";

	(void)state;
	for (int i = 0; i < GS_RECORD_MAX_ARGS; i++)
		strcat(text, "%d");
	format_destroy(parse(text, GS_RECORD_ROW));
	strcat(text, "%d");

	struct format *format;
	struct gs_error *err = format_parse(text, GS_RECORD_ROW, &format);

	assert_non_null(err);
	gs_error_destroy(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_take_their_names_from_the_format),
		cmocka_unit_test(metrics_begin_with_their_value),
		cmocka_unit_test(conditions_begin_with_their_table),
		cmocka_unit_test(integers_have_their_size),
		cmocka_unit_test(characters_and_pointers),
		cmocka_unit_test(doubles),
		cmocka_unit_test(strings_are_padded_by_what_is_seen),
		cmocka_unit_test(control_characters_and_broken_utf8_are_escaped),
		cmocka_unit_test(a_final_newline_is_dropped),
		cmocka_unit_test(unknown_conversions_are_refused),
		cmocka_unit_test(formats_have_a_largest_number_of_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
