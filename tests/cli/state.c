// SPDX-License-Identifier: Apache-2.0
// Where the numbers of findings go on after a restart: never behind one that may have been used.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/state.h"

#define TARGET "qemu:a"

static char directory[64];

static int make_directory(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/gpusentinel-state-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = { "/lock", "/sequence.json", "/sequence.json.new" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", directory, names[i]);
		unlink(path);
	}
	return rmdir(directory);
}

static void must(struct gs_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static void write_file(const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sequence.json", directory);

	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static bool open_state(struct state *state, struct gs_mailbox_progress *from)
{
	bool has;

	*state = (struct state){ .lock = -1 };
	must(state_open(state, directory, TARGET, from, &has));
	return has;
}

static void an_orderly_end_leaves_nothing_out(void **unused)
{
	struct gs_mailbox_progress now = { .heads = { 7, 9 } }, from;
	struct state state;

	(void)unused;
	assert_false(open_state(&state, &from));
	now.rows[63] = (struct gs_mailbox_row_progress){ 2, { 3, UINT64_C(1) << 40 } };
	must(state_settle(&state, &now));
	state_deinit(&state);
	assert_true(open_state(&state, &from));
	assert_memory_equal(&from, &now, sizeof(now));
	state_deinit(&state);
}

static void who_is_killed_uses_no_number_twice(void **unused)
{
	struct gs_mailbox_progress now = {}, from;
	struct state state;

	(void)unused;
	open_state(&state, &from);
	// At once.
	state_deinit(&state);
	assert_true(open_state(&state, &from));
	assert_true(from.heads[GS_MAILBOX_FINDINGS] >= 1 << 24);

	// A little, which was claimed already; and much, which is claimed when it is seen.
	now = from;
	now.epoch = from.epoch + 1;
	now.heads[GS_MAILBOX_FINDINGS] += 1000;
	must(state_claim(&state, &now));
	now.rows[5].records[GS_MAILBOX_DATA] += 10 << 20;
	must(state_claim(&state, &now));
	state_deinit(&state);
	assert_true(open_state(&state, &from));
	assert_int_equal(from.epoch, now.epoch);
	assert_true(from.heads[GS_MAILBOX_FINDINGS] > now.heads[GS_MAILBOX_FINDINGS]);
	assert_true(from.rows[5].records[GS_MAILBOX_DATA] > now.rows[5].records[GS_MAILBOX_DATA]);
	assert_true(from.rows[5].generation > now.rows[5].generation);

	// More than was claimed, even.
	now.heads[GS_MAILBOX_DATA] += UINT64_C(1) << 30;
	now.epoch = from.epoch + 1;
	must(state_claim(&state, &now));
	state_deinit(&state);
	assert_true(open_state(&state, &from));
	assert_true(from.heads[GS_MAILBOX_DATA] > now.heads[GS_MAILBOX_DATA]);
	state_deinit(&state);
}

static void one_service_has_it(void **unused)
{
	struct gs_mailbox_progress from;
	struct state first, second = { .lock = -1 };
	bool has;

	(void)unused;
	open_state(&first, &from);

	struct gs_error *err = state_open(&second, directory, TARGET, &from, &has);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "is in use by another gpusentinel"));
	gs_error_destroy(err);
	state_deinit(&second);
	state_deinit(&first);
	open_state(&second, &from);
	state_deinit(&second);
}

static void what_cannot_be_gone_on_from_is_told_apart(void **unused)
{
	struct gs_mailbox_progress from;
	struct state state;

	(void)unused;
#define WHY(text, why) assert_string_equal(state_parse(text, strlen(text), "b", "t", &from), why)
	WHY("", "it is damaged");
	WHY("[]", "it is damaged");
	WHY("{\"version\":1", "it is damaged");
	WHY("{\"version\":\"1\"}", "it is damaged");
	WHY("{\"version\":2}", "another version of this program has written it");
	WHY("{\"version\":1,\"boot\":\"a\",\"target\":\"t\"}",
	    "it is of before the machine was started");
	WHY("{\"version\":1,\"boot\":\"b\",\"target\":\"u\"}", "it is of another target");
	WHY("{\"version\":1,\"boot\":\"b\",\"target\":\"t\",\"epoch\":0,\"heads\":[1,2],\"rows\":[]}",
	    "it is damaged");
	WHY("{\"version\":1,\"boot\":\"b\",\"target\":\"t\",\"epoch\":-1,\"heads\":[1,2],\"rows\":[]}",
	    "it is damaged");
	WHY("{\"version\":1,\"boot\":\"b\",\"target\":\"t\",\"epoch\":0,\"heads\":[1,1e30],\"rows\":[]}",
	    "it is damaged");

	// It is passed over, and the next one is whole again.
	write_file("{\"version\":1,\"boot\"");
	assert_false(open_state(&state, &from));
	assert_int_equal(from.heads[0], 0);
	state_deinit(&state);
	assert_true(open_state(&state, &from));
	state_deinit(&state);
}

static void a_place_that_is_none(void **unused)
{
	struct gs_mailbox_progress from;
	struct state state = { .lock = -1 };
	bool has;
	struct gs_error *err = state_open(&state, "/nowhere/at/all", TARGET, &from, &has);

	(void)unused;
	assert_string_equal(err->message, "/nowhere/at/all: No such file or directory");
	gs_error_destroy(err);
	state_deinit(&state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
	const struct CMUnitTest tests[] = {
		TEST(an_orderly_end_leaves_nothing_out),
		TEST(who_is_killed_uses_no_number_twice),
		TEST(one_service_has_it),
		TEST(what_cannot_be_gone_on_from_is_told_apart),
		TEST(a_place_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
