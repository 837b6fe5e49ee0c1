// SPDX-License-Identifier: Apache-2.0
// Which conditions hold: what is known of one before it is told anew, and how much is kept.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <gpusentinel/conditions.h>

static char text[64];

const char *gs_record_text(const struct gs_record *record)
{
	(void)record;
	return text;
}

static struct gs_conditions *conditions;

static int setup(void **state)
{
	(void)state;
	conditions = gs_conditions_create();
	return conditions ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	gs_conditions_destroy(conditions);
	gs_conditions_destroy(NULL);
	return 0;
}

static struct gs_record record(const char *alarm, uint64_t key, enum gs_state state, uint64_t now)
{
	return (struct gs_record){
		.detector_name = "tasks",
		.kind = GS_RECORD_FINDING,
		.severity = GS_WARNING,
		.state = state,
		.alarm = alarm,
		.key = key,
		.wall_ns = now,
		.lasted_ns = 5,
	};
}

static const struct gs_condition *note(const char *alarm, uint64_t key, enum gs_state state,
				       uint64_t now)
{
	struct gs_record one = record(alarm, key, state, now);

	snprintf(text, sizeof(text), "%s %llu at %llu", alarm, (unsigned long long)key,
		 (unsigned long long)now);
	return gs_conditions_note(conditions, &one);
}

static void the_last_message_is_known_at_the_end(void **state)
{
	const struct gs_condition *before;

	(void)state;
	assert_null(note("hung", 7, GS_OPEN, 100));
	assert_null(note("hung", 8, GS_OPEN, 200));
	assert_null(note("late", 7, GS_OPEN, 300));
	assert_int_equal(gs_conditions_count(conditions), 3);

	before = note("hung", 7, GS_CHANGED, 400);
	assert_string_equal(before->message, "hung 7 at 100");
	assert_int_equal(before->severity, GS_WARNING);
	assert_int_equal(before->since_ns, 95);
	assert_int_equal(before->told_ns, 100);

	before = note("hung", 7, GS_CLOSED, 500);
	assert_string_equal(before->message, "hung 7 at 400");
	assert_string_equal(before->alarm, "hung");
	assert_string_equal(before->detector, "tasks");
	assert_int_equal(gs_conditions_count(conditions), 2);
	assert_null(note("hung", 7, GS_CLOSED, 600));
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(gs_conditions_at(conditions, i)->told_ns,
				 gs_conditions_at(conditions, i)->key == 8 ? 200 : 300);
}

static void detectors_are_told_apart(void **state)
{
	struct gs_record other = record("hung", 7, GS_CLOSED, 200);

	(void)state;
	assert_null(note("hung", 7, GS_OPEN, 100));
	other.detector_name = "others";
	assert_null(gs_conditions_note(conditions, &other));
	assert_int_equal(gs_conditions_count(conditions), 1);
}

static void a_lost_beginning_or_end_does_no_harm(void **state)
{
	(void)state;
	assert_null(note("hung", 7, GS_CHANGED, 100));
	assert_string_equal(note("hung", 7, GS_OPEN, 200)->message, "hung 7 at 100");
	assert_int_equal(gs_conditions_count(conditions), 1);
	assert_string_equal(note("hung", 7, GS_CLOSED, 300)->message, "hung 7 at 200");
}

static void other_records_change_nothing(void **state)
{
	struct gs_record row = record("hung", 7, GS_OPEN, 100);

	(void)state;
	row.kind = GS_RECORD_ROW;
	assert_null(gs_conditions_note(conditions, &row));
	assert_null(note("hung", 7, GS_EVENT, 100));
	assert_int_equal(gs_conditions_count(conditions), 0);
}

static void the_oldest_makes_room(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < GS_CONDITIONS_MAX; i++)
		assert_null(note("hung", i, GS_OPEN, 1000 + i));
	assert_non_null(note("hung", 0, GS_CHANGED, 9000));
	assert_null(note("hung", GS_CONDITIONS_MAX, GS_OPEN, 9001));
	assert_int_equal(gs_conditions_count(conditions), GS_CONDITIONS_MAX);
	assert_null(note("hung", 1, GS_CLOSED, 9002));
	assert_non_null(note("hung", 0, GS_CLOSED, 9003));
	assert_non_null(note("hung", 2, GS_CLOSED, 9004));
}

static void of_a_detector_that_has_gone_nothing_is_left(void **state)
{
	struct gs_record other = record("hung", 7, GS_OPEN, 100);

	(void)state;
	other.detector_name = "others";
	gs_conditions_note(conditions, &other);
	note("hung", 7, GS_OPEN, 100);
	note("late", 1, GS_OPEN, 150);
	// By the detector of that name that has come in its place.
	note("late", 2, GS_OPEN, 200);
	gs_conditions_forget(conditions, "tasks", 200);
	assert_int_equal(gs_conditions_count(conditions), 2);
	assert_non_null(note("late", 2, GS_CLOSED, 300));
	assert_string_equal(gs_conditions_at(conditions, 0)->detector, "others");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_last_message_is_known_at_the_end),
		TEST(detectors_are_told_apart),
		TEST(a_lost_beginning_or_end_does_no_harm),
		TEST(other_records_change_nothing),
		TEST(the_oldest_makes_room),
		TEST(of_a_detector_that_has_gone_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
