// SPDX-License-Identifier: Apache-2.0
// What is made of hosts, over simulated time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "grass/verdict.h"

#define SECOND UINT64_C(1000000000)

static const struct verdict fresh = { .rules = { .misses = 3, .answers = 2 } };

static bool found(struct verdict *verdict, uint64_t now, const char *detector, const char *alarm,
		  enum gs_state state, const char *message)
{
	struct verdict_finding finding = { detector, alarm, state, message };

	return verdict_note(verdict, now, &finding);
}

static void is(const struct verdict *verdict, enum verdict_state state, uint64_t since,
	       const char *why)
{
	assert_string_equal(verdict_name(verdict->state), verdict_name(state));
	assert_int_equal(verdict->since_ns, since);
	assert_string_equal(verdict->why, why);
}

static void the_first_answer_is_enough(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	assert_true(verdict_answer(&verdict, 5 * SECOND));
	is(&verdict, VERDICT_ALIVE, 5 * SECOND, "");
	assert_int_equal(verdict.before, VERDICT_NONE);
	assert_int_equal(verdict.lasted_ns, 0);
	assert_false(verdict_answer(&verdict, 6 * SECOND));
}

static void nothing_is_said_of_a_host_until_enough_answers_are_missing(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	assert_false(verdict_miss(&verdict, 1 * SECOND, "refused"));
	assert_false(verdict_miss(&verdict, 2 * SECOND, "refused"));
	is(&verdict, VERDICT_NONE, 0, "");
	assert_true(verdict_miss(&verdict, 3 * SECOND, "timed out"));
	is(&verdict, VERDICT_UNREACHABLE, 1 * SECOND, "timed out");
	// It goes on, and why changes: no news.
	assert_false(verdict_miss(&verdict, 4 * SECOND, "refused"));
}

static void one_missing_answer_is_none(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 0);
	for (uint64_t at = 1; at < 100; at += 3) {
		assert_false(verdict_miss(&verdict, at * SECOND, "silence"));
		assert_false(verdict_miss(&verdict, (at + 1) * SECOND, "silence"));
		assert_false(verdict_answer(&verdict, (at + 2) * SECOND));
	}
	is(&verdict, VERDICT_ALIVE, 0, "");
}

static void one_answer_does_not_bring_it_back(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 10 * SECOND);
	for (uint64_t at = 20; at < 22; at++)
		verdict_miss(&verdict, at * SECOND, "silence");
	assert_true(verdict_miss(&verdict, 22 * SECOND, "silence"));
	is(&verdict, VERDICT_UNREACHABLE, 20 * SECOND, "silence");
	assert_int_equal(verdict.before, VERDICT_ALIVE);
	assert_int_equal(verdict.lasted_ns, 10 * SECOND);

	// A link that answers every other time stays what it was.
	for (uint64_t at = 30; at < 50; at += 2) {
		assert_false(verdict_answer(&verdict, at * SECOND));
		assert_false(verdict_miss(&verdict, (at + 1) * SECOND, "silence"));
	}
	assert_false(verdict_answer(&verdict, 50 * SECOND));
	assert_true(verdict_answer(&verdict, 51 * SECOND));
	is(&verdict, VERDICT_ALIVE, 51 * SECOND, "");
	assert_int_equal(verdict.before, VERDICT_UNREACHABLE);
	assert_int_equal(verdict.lasted_ns, 31 * SECOND);
}

static void a_panic_is_told_at_once_and_its_reason_when_it_is_known(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 0);
	assert_true(found(&verdict, 7 * SECOND, "panic", "", GS_EVENT,
			  "kernel panic: cpu=0 pid=126 comm=sh"));
	is(&verdict, VERDICT_OS_DEAD, 7 * SECOND, "kernel panic: cpu=0 pid=126 comm=sh");
	assert_int_equal(verdict.before, VERDICT_ALIVE);
	assert_int_equal(verdict.lasted_ns, 7 * SECOND);
	assert_true(found(&verdict, 8 * SECOND, "panic", "", GS_EVENT,
			  "sysrq triggered crash; cpu=0 pid=126 comm=sh taint=, stack=a < b"));
	is(&verdict, VERDICT_OS_DEAD, 7 * SECOND, "kernel panic: sysrq triggered crash");
	// In the kernel's own words it is the same.
	assert_false(found(&verdict, 9 * SECOND, "log", "", GS_EVENT,
			   "Kernel panic - not syncing: sysrq triggered crash"));
	// Dead people's hearts may beat.
	assert_false(verdict_answer(&verdict, 10 * SECOND));
	is(&verdict, VERDICT_OS_DEAD, 7 * SECOND, "kernel panic: sysrq triggered crash");
}

static void a_dead_system_may_get_out_of_reach_and_is_still_dead_afterwards(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 0);
	found(&verdict, 1 * SECOND, "log", "", GS_EVENT, "Kernel panic - not syncing: Oops");
	for (uint64_t at = 2; at < 5; at++)
		verdict_miss(&verdict, at * SECOND, "silence");
	is(&verdict, VERDICT_UNREACHABLE, 2 * SECOND, "silence");
	assert_int_equal(verdict.before, VERDICT_OS_DEAD);
	verdict_answer(&verdict, 6 * SECOND);
	assert_true(verdict_answer(&verdict, 7 * SECOND));
	is(&verdict, VERDICT_OS_DEAD, 7 * SECOND, "kernel panic: Oops");
	// Another run of what watches it has found nothing yet.
	assert_true(verdict_restart(&verdict, 8 * SECOND));
	is(&verdict, VERDICT_ALIVE, 8 * SECOND, "");
}

static void a_system_that_stands_still_may_go_on(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 0);
	assert_true(found(&verdict, 2 * SECOND, "lockup", "standstill", GS_OPEN,
			  "the system stands still: for 600 ms"));
	is(&verdict, VERDICT_OS_DEAD, 2 * SECOND, "the system stands still: for 600 ms");
	assert_false(found(&verdict, 3 * SECOND, "lockup", "standstill", GS_CHANGED,
			   "the system stands still: for 1600 ms"));
	assert_true(found(&verdict, 4 * SECOND, "lockup", "standstill", GS_CLOSED, ""));
	is(&verdict, VERDICT_ALIVE, 4 * SECOND, "");
	assert_int_equal(verdict.lasted_ns, 2 * SECOND);
}

static void other_findings_kill_nobody(void **state)
{
	struct verdict verdict = fresh;

	(void)state;
	verdict_answer(&verdict, 0);
	assert_false(found(&verdict, 1, "lockup", "soft_lockup", GS_OPEN, "soft lockup: cpu=0"));
	assert_false(found(&verdict, 1, "log", "", GS_EVENT, "KernelOops: Oops: 0002"));
	assert_false(found(&verdict, 1, "memory", "", GS_EVENT, "kernel panic: not mine to say"));
	is(&verdict, VERDICT_ALIVE, 0, "");
}

static void what_is_said_may_be_of_any_length(void **state)
{
	char longer[4 * VERDICT_WHY_MAX];
	struct verdict verdict = fresh;

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	verdict_answer(&verdict, 0);
	assert_true(found(&verdict, 1, "panic", "", GS_EVENT, longer));
	assert_int_equal(strlen(verdict.why), VERDICT_WHY_MAX - 1);
	for (int i = 0; i < 3; i++)
		verdict_miss(&verdict, 2, longer);
	assert_int_equal(strlen(verdict.why), VERDICT_WHY_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_answer_is_enough),
		cmocka_unit_test(nothing_is_said_of_a_host_until_enough_answers_are_missing),
		cmocka_unit_test(one_missing_answer_is_none),
		cmocka_unit_test(one_answer_does_not_bring_it_back),
		cmocka_unit_test(a_panic_is_told_at_once_and_its_reason_when_it_is_known),
		cmocka_unit_test(a_dead_system_may_get_out_of_reach_and_is_still_dead_afterwards),
		cmocka_unit_test(a_system_that_stands_still_may_go_on),
		cmocka_unit_test(other_findings_kill_nobody),
		cmocka_unit_test(what_is_said_may_be_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
