// SPDX-License-Identifier: Apache-2.0
// What `top` makes of records: parts of CPUs, orders, findings, and frames of every size.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/top_draw.h"
#include "util/array.h"

#define SECOND UINT64_C(1000000000)

static const char *text = "";

const char *gs_record_text(const struct gs_record *record)
{
	(void)record;
	return text;
}

const char *gs_record_item_text(const struct gs_record *record, size_t index)
{
	(void)record;
	(void)index;
	return "";
}

static struct top top;
static struct top_view view;

static int setup(void **state)
{
	(void)state;
	view = (struct top_view){ .target = "core:x", .release = "6.1.0", .engine = "cpu" };
	return top_init(&top) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	top_deinit(&top);
	return 0;
}

static void put(const char *detector, uint64_t run, const struct gs_item *items, size_t count)
{
	const struct gs_record record = {
		.detector_name = detector,
		.kind = GS_RECORD_ROW,
		.alarm = "",
		.time_ns = (run + 1) * SECOND,
		.run = run,
		.items = items,
		.count = count,
	};

	top_record(&top, &record);
}

#define NUMBER(is, value) { .name = is, .type = GS_ITEM_UINT, .u = (value) }
#define STRING(is, value) \
	{ .name = is, .type = GS_ITEM_STRING, .string = (value), .length = strlen(value) }

static void put_process(uint64_t run, int pid, uint64_t rss_kb, uint64_t cpu_ns, uint64_t start_ns,
			const char *comm)
{
	const struct gs_item items[] = {
		{ .name = "pid", .type = GS_ITEM_INT, .i = pid },
		NUMBER("rss_kb", rss_kb),
		NUMBER("utime_ns", cpu_ns / 2),
		NUMBER("stime_ns", cpu_ns - cpu_ns / 2),
		NUMBER("start_ns", start_ns),
		{ .name = "state", .type = GS_ITEM_CHAR, .u = 'S' },
		STRING("comm", comm),
	};

	put("processes", run, items, ARRAY_SIZE(items));
}

static void put_cpu(uint64_t run, uint64_t cpu, uint64_t idle, const char *comm)
{
	const struct gs_item items[] = { NUMBER("cpu", cpu), NUMBER("idle", idle),
					 NUMBER("user", 900 - idle), NUMBER("system", 100),
					 STRING("comm", comm) };

	put("cpu", run, items, ARRAY_SIZE(items));
}

static void find(const char *message, enum gs_severity severity, enum gs_state state, uint64_t key)
{
	const struct gs_record record = {
		.detector_name = "tasks",
		.kind = GS_RECORD_FINDING,
		.severity = severity,
		.state = state,
		.alarm = "hung",
		.key = key,
		.wall_ns = key * SECOND,
	};

	text = message;
	top_record(&top, &record);
}

// The frame as one text; its lines end with newlines.
static const char *draw(size_t width, size_t height)
{
	static char all[65536];
	struct frame frame = { .width = width };
	size_t used = 0;

	view.height = height;
	pthread_mutex_lock(&top.lock);
	top_settle(&top, true);
	pthread_mutex_unlock(&top.lock);
	top_draw(&top, &view, &frame);
	assert_false(frame.failed || top.out_of_memory);
	if (height)
		assert_true(frame.count <= height);
	for (size_t i = 0; i < frame.count; i++) {
		assert_true(!width || strlen(frame.lines[i].text) <= width);
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s\n",
					 frame.lines[i].text);
		assert_true(used < sizeof(all));
	}
	frame_deinit(&frame);
	return all;
}

static void assert_shows(const char *frame, const char *part)
{
	if (!strstr(frame, part))
		fail_msg("\"%s\" is not in\n%s", part, frame);
}

static void assert_in_order(const char *frame, const char *first, const char *second)
{
	assert_shows(frame, first);
	assert_shows(frame, second);
	if (strstr(frame, first) > strstr(frame, second))
		fail_msg("\"%s\" is behind \"%s\" in\n%s", first, second, frame);
}

static void parts_of_a_cpu_need_two_runs(void **state)
{
	(void)state;
	put_process(0, 1, 10, SECOND, 5, "init");
	put_process(0, 7, 30, 0, 6, "gone");
	put_process(0, 8, 20, SECOND * 50, 7, "reused");
	assert_shows(draw(0, 0), "   10.0 KiB     -   0:01.00 init\n");

	put_process(1, 1, 10, SECOND * 3 / 2, 5, "init");
	// Another process with the number of one that has gone, and a new one.
	put_process(1, 8, 20, SECOND / 10, 8, "fresh");
	put_process(1, 9, 40, SECOND / 5, 9, "newer");
	assert_shows(draw(0, 0), "   10.0 KiB  50.0   0:01.50 init\n");
	assert_shows(draw(0, 0), "   20.0 KiB  10.0   0:00.10 fresh\n");
	assert_in_order(draw(0, 0), "init", "newer");
	assert_in_order(draw(0, 0), "newer", "fresh");
	assert_null(strstr(draw(0, 0), "gone"));
	view.order = TOP_BY_RSS;
	assert_in_order(draw(0, 0), "newer", "init");
	view.reverse = true;
	assert_in_order(draw(0, 0), "init", "newer");
	view.order = TOP_BY_PID;
	view.reverse = false;
	view.processes = 1;
	assert_null(strstr(draw(0, 0), "fresh"));
}

static void a_run_counts_when_it_is_whole(void **state)
{
	(void)state;
	put_process(0, 1, 0, 0, 0, "init");
	assert_int_equal(top_runs(&top), 0);
	put_process(1, 1, 0, 0, 0, "init");
	assert_int_equal(top_runs(&top), 1);
	assert_shows(draw(0, 0), "1 processes");
	assert_int_equal(top_runs(&top), 2);
}

static void cpus_have_a_line_each_if_there_is_room(void **state)
{
	const char *frame;

	(void)state;
	put_cpu(0, 0, 250, "a\033b");
	put_cpu(0, 1, 900, "swapper/1");
	frame = draw(0, 0);
	assert_shows(frame, "CPU0    75.0% [|||||||||||||||     ] us 65.0 sy 10.0");
	assert_shows(frame, "a\\x1bb\n");
	assert_shows(frame, "CPU1    10.0% [||                  ]");
	view.one_cpu_line = true;
	assert_shows(draw(0, 0), "CPUs    42.5% [|||||||||           ] of 2, the busiest is 0 with "
				 "75.0%");
	view.one_cpu_line = false;
	for (uint64_t i = 0; i < 20; i++)
		put_cpu(1, i, i == 7 ? 0 : 900, "swapper");
	assert_shows(draw(80, 24),
		     "CPUs    14.5% [|||                 ] of 20, the busiest is 7 with "
		     "100.0%");
}

static void the_worst_findings_come_first(void **state)
{
	const char *frame;

	(void)state;
	find("it waits", GS_WARNING, GS_OPEN, 1);
	find("it is lost", GS_CRITICAL, GS_OPEN, 2);
	find("it waits too", GS_WARNING, GS_OPEN, 3);
	find("bang", GS_ERROR, GS_EVENT, 4);
	find("bang again", GS_INFO, GS_EVENT, 5);
	frame = draw(0, 0);
	assert_shows(frame, "Findings: 3 open, 2 events\n");
	assert_in_order(frame, "tasks: it is lost\n", "tasks: it waits too\n");
	assert_in_order(frame, "tasks: it waits too\n", "tasks: it waits\n");
	assert_in_order(frame, "tasks: it waits\n", "tasks: bang again\n");
	assert_in_order(frame, "tasks: bang again\n", "tasks: bang\n");
	find("", GS_CRITICAL, GS_CLOSED, 2);
	assert_null(strstr(draw(0, 0), "it is lost"));

	// They leave room for processes.
	put_process(0, 1, 0, 0, 0, "init");
	for (uint64_t i = 0; i < 200; i++) {
		find("many", GS_ERROR, GS_OPEN, 100 + i);
		find("much", GS_ERROR, GS_EVENT, 100 + i);
	}
	assert_shows(draw(80, 24), "init\n");
}

static void frames_fit_every_screen(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		put_process(0, i, 1, 0, 0, "a process with a name that goes on and on \xc3\xa4");
	put_cpu(0, 0, 0, "x");
	find("a message that is longer than any of the screens that are tried here, and by far",
	     GS_ERROR, GS_OPEN, 1);
	for (size_t width = 1; width < 100; width += 3) {
		for (size_t height = 1; height < 60; height += 7) {
			bool small = width < TOP_MIN_WIDTH || height < TOP_MIN_HEIGHT;

			view.scroll = 1000;
			assert_true(small ==
				    !strncmp(draw(width, height), "The", width < 3 ? width : 3));
			view.help = true;
			draw(width, height < 16 ? 16 : height);
			view.help = false;
		}
	}
	view.scroll = 1000;
	draw(80, 24);
	assert_int_equal(view.scroll, 100 - view.page);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(parts_of_a_cpu_need_two_runs),
		TEST(a_run_counts_when_it_is_whole),
		TEST(cpus_have_a_line_each_if_there_is_room),
		TEST(the_worst_findings_come_first),
		TEST(frames_fit_every_screen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
