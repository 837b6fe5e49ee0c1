// SPDX-License-Identifier: Apache-2.0
// The configuration of the service: what it may say, what is refused and where.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/config.h"

static void parse(struct config *config, const char *text)
{
	assert_null(config_parse(config, text, strlen(text), "c"));
}

static void refused_bytes(const char *text, size_t size, const char *message)
{
	struct config config;
	struct gs_error *err = config_parse(&config, text, size, "c");

	assert_non_null(err);
	assert_string_equal(err->message, message);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	gs_error_destroy(err);
	config_deinit(&config);
}

static void refused(const char *text, const char *message)
{
	refused_bytes(text, strlen(text), message);
}

static void keys_and_sections(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "# Comment\r\n; one more\n\ntarget = qemu:web\r\nquiet=yes\nbudget = 0x10\n"
		       "period = 0.5\n[memory]\nperiod = 100\nwarn_percent = 20\n"
		       "[panic]\nperiod=1 ; at once\n");
	assert_string_equal(config_find(&config, "", "target")->value, "qemu:web");
	assert_int_equal(config_find(&config, "", "target")->line, 4);
	assert_int_equal(config_find(&config, "", "budget")->number, 16);
	assert_int_equal(config_find(&config, "", "period")->number, 500);
	assert_int_equal(config_find(&config, "memory", "period")->number, 100000);
	assert_int_equal(config_find(&config, "memory", "warn_percent")->number, 20);
	assert_int_equal(config_find(&config, "panic", "period")->number, 1000);
	assert_null(config_find(&config, "panic", "warn_percent"));
	assert_null(config_find(&config, "", "keys"));
	assert_null(config_find(NULL, "", "keys"));
	config_deinit(&config);
	assert_int_equal(config.count, 0);
}

static void lists_keep_their_order(void **state)
{
	const struct config_entry *entry = NULL;
	struct config config;

	(void)state;
	parse(&config, "listen = [::1]:7411\ndetectors = panic\nlisten = 10.0.0.2\n    10.0.0.3\n");
	entry = config_next(&config, "", "listen", entry);
	assert_string_equal(entry->value, "[::1]:7411");
	entry = config_next(&config, "", "listen", entry);
	assert_string_equal(entry->value, "10.0.0.2");
	// What is indented goes on with the line before.
	entry = config_next(&config, "", "listen", entry);
	assert_string_equal(entry->value, "10.0.0.3");
	assert_int_equal(entry->line, 4);
	assert_null(config_next(&config, "", "listen", entry));
	config_deinit(&config);
}

static void what_is_wrong_is_refused_with_its_line(void **state)
{
	(void)state;
	refused("target = host\nspeed = 9\n", "c:2: 'speed' is no key; see gpusentinel.conf(5)");
	refused("target = host\n\ntarget = qemu:a\n", "c:3: target is in line 1 already");
	refused("target = host\n   engine\n", "c:2: target is in line 1 already");
	refused("[memory]\nwarn_percent = 1\n[panic]\n[memory]\nwarn_percent = 2\n",
		"c:5: warn_percent is in line 2 already");
	refused("target =\n", "c:1: target: nothing behind '='");
	refused("quiet = true\n", "c:1: quiet is yes or no, not 'true'");
	refused("budget = ten\n",
		"c:1: budget is a number up to 2^64-1, decimal or 0x..., not 'ten'");
	refused("budget = 18446744073709551616\n",
		"c:1: budget is a number up to 2^64-1, decimal or 0x..., not "
		"'18446744073709551616'");
	refused("[memory]\nwarn_percent = -1\n",
		"c:2: warn_percent is a number up to 2^64-1, decimal or 0x..., not '-1'");
	refused("[memory]\nperiod = 0\n",
		"c:2: period is in milliseconds, from 0.001 to 4294967, e.g. 100 or 0.5, not '0'");
	refused("period = nan\n",
		"c:1: period is in milliseconds, from 0.001 to 4294967, e.g. 100 or 0.5, not 'nan'");
	refused("[memory\nperiod = 1\n",
		"c:1: neither 'key = value' nor '[DETECTOR]' nor a comment");
	refused("target = host\njust words\nquiet = maybe\n",
		"c:2: neither 'key = value' nor '[DETECTOR]' nor a comment");
	refused("[memory]\n= 3\n", "c:2: no name before '='");
	refused("[a234567890123456789012345678901234567890123456789]\nx = 1\n",
		"c:2: names of detectors have less than 48 bytes");
}

static void bytes_that_no_text_has(void **state)
{
	char text[1000];

	(void)state;
	refused_bytes("target = h\0st\n", 14, "c:1: byte 0x00 is no text");
	refused("\n\ntarget = \033[2J\n", "c:3: byte 0x1b is no text");
	memset(text, 'x', sizeof(text));
	memcpy(text, "rules = ", 8);
	refused_bytes(text, sizeof(text), "c:1: a line has up to 198 bytes");
}

static void too_much_is_refused(void **state)
{
	char *text = malloc((2 << 20) + 1);

	(void)state;
	memset(text, '\n', 2 << 20);
	refused_bytes(text, 2 << 20, "c: larger than 1 MiB");

	size_t size = 0;

	for (unsigned int i = 0; i < 5000; i++)
		size += (size_t)sprintf(text + size, "listen = %u\n", i);
	refused_bytes(text, size, "c:4097: more than 4096 values");
	free(text);
}

static void changes_are_seen(void **state)
{
	struct config a, b;

	(void)state;
	parse(&a, "target = host\nlisten = 1\nlisten = 2\n");
	parse(&b, "listen = 1\ntarget = host\nkeys = k\n");
	assert_true(config_same(&a, &b, "target"));
	assert_false(config_same(&a, &b, "listen"));
	assert_false(config_same(&a, &b, "keys"));
	assert_true(config_same(&a, &b, "name"));
	config_deinit(&a);
	config_deinit(&b);
}

static void the_example_says_what_it_should(void **state)
{
	const char *const *path = *state;
	struct config config;

	assert_null(config_load(&config, *path));
	assert_string_equal(config_find(&config, "", "target")->value, "host");
	config_deinit(&config);

	struct gs_error *err = config_load(&config, "/nowhere/c");

	assert_string_equal(err->message, "/nowhere/c: No such file or directory");
	gs_error_destroy(err);
	config_deinit(&config);
}

int main(int argc, char **argv)
{
	const char *example = argc > 1 ? argv[1] : "";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_sections),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_line),
		cmocka_unit_test(bytes_that_no_text_has),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(changes_are_seen),
		cmocka_unit_test_prestate(the_example_says_what_it_should, &example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
