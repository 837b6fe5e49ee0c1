// SPDX-License-Identifier: Apache-2.0
// Runs of detectors: engine_sample.c on a target of three pages.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <gpusentinel/engine.h>

enum { COUNTER, ENDLESS, FLOOD, FAULTY, READER, PARALLEL, LIMITED };

static uint8_t ram[3 * 4096] __attribute__((aligned(4096)));
static uint64_t present[1];
static const struct gs_segment segment = { .phys = 0,
					   .size = sizeof(ram),
					   .host = ram,
					   .present = present };
static struct gs_map map = { .direct_base = UINT64_C(0xffff888000000000),
			     .direct_size = sizeof(ram),
			     .levels = 4 };

#include "engine_kernel.h"
#include "monitor.h"

bool gs_target_fault(struct gs_target *target, size_t index, uint64_t page)
{
	(void)target;
	assert_int_equal(index, 0);
	if (page != 1)
		return false;
	__atomic_fetch_or(&present[0], UINT64_C(1) << page, __ATOMIC_RELEASE);
	return true;
}

bool gs_target_io_memory(const struct gs_target *target)
{
	(void)target;
	return false;
}

bool gs_target_frozen(const struct gs_target *target)
{
	(void)target;
	return false;
}

uint64_t gs_target_scan(struct gs_target *target)
{
	(void)target;
	return 0;
}

bool gs_target_next_present(struct gs_target *target, uint64_t phys, uint64_t *ret)
{
	(void)target;
	(void)phys;
	(void)ret;
	return false;
}

struct seen {
	size_t count;
	uint64_t values[2];
	char text[128];
};

static void see(void *arg, const struct gs_record *record)
{
	struct seen *seen = arg;

	seen->count++;
	for (size_t i = 0; i < record->count && i < 2; i++)
		seen->values[i] = record->items[i].u;
	snprintf(seen->text, sizeof(seen->text), "%s", gs_record_text(record));
}

static struct gs_fat *fat;

static struct gs_engine *engine_create(void)
{
	static int kernel;
	struct gs_engine *engine;
	struct gs_error *err = gs_engine_create("cpu", (struct gs_kernel *)&kernel, &engine);

	if (err)
		fail_msg("%s", err->message);
	assert_string_equal(gs_engine_name(engine), "cpu");
	return engine;
}

static struct gs_detector *add(struct gs_engine *engine, size_t index,
			       struct gs_detector_options options)
{
	struct gs_detector *detector;

	options.size = sizeof(options);

	struct gs_error *err = gs_engine_add(engine, fat, index, &options, &detector);

	if (err)
		fail_msg("%s", err->message);
	return detector;
}

static void see_first(void *arg, const struct gs_record *record)
{
	__atomic_store_n((uint64_t *)arg, record->items[0].u, __ATOMIC_RELEASE);
}

static void run(struct gs_detector *detector, struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));

	struct gs_error *err = gs_detector_run(detector, see, seen);

	if (err)
		fail_msg("%s", err->message);
}

static void assert_incomplete(struct gs_detector *detector, struct seen *seen, const char *part)
{
	memset(seen, 0, sizeof(*seen));

	struct gs_error *err = gs_detector_run(detector, see, seen);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_INCOMPLETE);
	if (!strstr(err->message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err->message);
	gs_error_destroy(err);
}

static void statics_last_from_run_to_run_but_not_between_engines(void **state)
{
	struct gs_engine *engine = engine_create(), *other = engine_create();
	struct gs_detector *detector = add(engine, COUNTER, (struct gs_detector_options){});
	struct gs_detector *twin = add(other, COUNTER, (struct gs_detector_options){});
	struct seen seen;

	(void)state;
	run(detector, &seen);
	run(detector, &seen);
	assert_string_equal(seen.text, "n=2 run=1");
	run(twin, &seen);
	assert_string_equal(seen.text, "n=1 run=0");
	gs_engine_destroy(other);
	run(detector, &seen);
	assert_string_equal(seen.text, "n=3 run=2");

	// Removed and added again, it begins anew.
	gs_engine_remove(engine, detector);
	detector = add(engine, COUNTER, (struct gs_detector_options){});
	run(detector, &seen);
	assert_string_equal(seen.text, "n=1 run=0");
	gs_engine_destroy(engine);
}

static bool is_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		found = found || strstr(line, "gpusentinel-detector");
	fclose(maps);
	return found;
}

static void nothing_stays_behind(void **state)
{
	struct gs_engine *engine = engine_create();
	struct seen seen;

	(void)state;
	run(add(engine, COUNTER, (struct gs_detector_options){}), &seen);
	assert_true(is_mapped());
	gs_engine_destroy(engine);
	assert_false(is_mapped());
}

static void endless_loops_end(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector = add(engine, ENDLESS, (struct gs_detector_options){});
	struct gs_run_stats stats;
	struct seen seen;

	(void)state;
	assert_incomplete(
		detector, &seen,
		"endless: stopped after 4194304 loop iterations at sample.c:40: the list does not "
		"end or --budget is too small; 0 rows shown");
	gs_engine_remove(engine, detector);
	detector = add(engine, ENDLESS, (struct gs_detector_options){ .budget = 17 });
	assert_incomplete(detector, &seen, "after 17 loop iterations");
	gs_detector_stats(detector, &stats);
	assert_int_equal(stats.runs, 1);
	assert_int_equal(stats.stopped_budget, 1);
	assert_string_equal(stats.stop_site, "sample.c:40");
	gs_engine_destroy(engine);
}

static void a_full_buffer_grows_and_the_run_is_repeated(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector =
		add(engine, FLOOD, (struct gs_detector_options){ .output = 1 });
	struct gs_run_stats stats;
	struct seen seen;

	(void)state;
	run(detector, &seen);
	assert_int_equal(seen.count, 5000);
	assert_int_equal(seen.values[0], 4999);
	// The static variable counted one run, not each attempt.
	assert_int_equal(seen.values[1], 101);
	run(detector, &seen);
	assert_int_equal(seen.values[1], 102);
	gs_detector_stats(detector, &stats);
	assert_int_equal(stats.runs, 2);
	assert_int_equal(stats.records, 10000);
	assert_int_equal(stats.records_lost, 0);
	gs_engine_destroy(engine);
}

static void failed_loads_are_reported(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector = add(engine, FAULTY, (struct gs_detector_options){});
	struct gs_run_stats stats;
	struct seen seen;

	(void)state;
	assert_incomplete(detector, &seen, "faulty: 2 loads failed, the first at address 0x18");
	assert_string_equal(seen.text, "value=0");
	gs_detector_stats(detector, &stats);
	assert_int_equal(stats.faults, 2);
	assert_int_equal(stats.fault_address, 0x18);
	gs_engine_destroy(engine);
}

static void absent_pages_are_asked_for(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector = add(engine, READER, (struct gs_detector_options){});
	struct seen seen;

	(void)state;
	strcpy((char *)ram + 4096, "hello");
	assert_int_equal(present[0], 0);
	run(detector, &seen);
	assert_string_equal(seen.text, "s=hello sym=init_task+0x1234");
	assert_int_equal(present[0], 2);
	gs_engine_destroy(engine);
}

static void see_order(void *arg, const struct gs_record *record)
{
	uint64_t *next = arg;

	assert_int_equal(record->items[0].u, *next);
	++*next;
}

// Rows come sorted, and one thread has the budget of all.
static void parallel_detectors_run_on_one_thread(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector = add(engine, PARALLEL, (struct gs_detector_options){});
	struct gs_detector_info info;
	uint64_t next = 0;

	(void)state;
	assert_null(gs_detector_run(detector, see_order, &next));
	assert_int_equal(next, 200);
	gs_detector_get_info(detector, &info);
	assert_int_equal(info.threads, 32);
	assert_int_equal(info.blocks, 2);
	assert_int_equal(info.budget, 50);

	struct seen seen;

	gs_engine_remove(engine, detector);
	detector = add(engine, PARALLEL, (struct gs_detector_options){ .budget = 10 });
	assert_incomplete(detector, &seen, "stopped after 640 loop iterations");
	assert_int_equal(seen.count, 200);
	gs_engine_destroy(engine);
}

static void what_the_kernel_lacks_refuses_the_detector(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *detector = NULL;

	(void)state;
	has_symbols = false;

	struct gs_error *err = gs_engine_add(engine, fat, COUNTER, NULL, &detector);

	has_symbols = true;
	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_DETECTOR);
	assert_string_equal(err->message,
			    "counter: the kernel 6.1 has no symbol init_task (used at sample.c)");
	gs_error_destroy(err);
	assert_null(detector);

	err = gs_engine_add(engine, fat, 99, NULL, &detector);
	assert_non_null(err);
	gs_error_destroy(err);
	// The engine is none the worse.
	add(engine, COUNTER, (struct gs_detector_options){});
	gs_engine_destroy(engine);
}

static void parameters_are_set_while_detectors_run(void **state)
{
	struct gs_engine *engine = engine_create(), *other = engine_create();
	struct gs_detector *detector = add(engine, LIMITED, (struct gs_detector_options){});
	struct gs_detector *twin = add(engine, COUNTER, (struct gs_detector_options){});
	struct gs_detector *stranger = add(other, LIMITED, (struct gs_detector_options){});
	struct gs_param_info param;
	struct seen seen;
	uint64_t value;

	(void)state;
	assert_int_equal(gs_fat_param_count(fat), 1);
	gs_fat_param_info(fat, 0, &param);
	assert_string_equal(param.name, "limit");
	assert_string_equal(param.description, "how much");
	assert_int_equal(param.value, 7);
	gs_fat_param_info(fat, 1, &param);
	assert_null(param.name);

	run(detector, &seen);
	assert_string_equal(seen.text, "limit=7");
	assert_null(gs_detector_set_param(detector, "limit", UINT64_MAX));
	run(detector, &seen);
	assert_string_equal(seen.text, "limit=18446744073709551615");
	// All of the file's detectors share it, and no other engine's.
	assert_null(gs_detector_get_param(twin, "limit", &value));
	assert_int_equal(value, UINT64_MAX);
	run(stranger, &seen);
	assert_string_equal(seen.text, "limit=7");

	struct gs_error *err = gs_detector_set_param(detector, "limits", 1);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	assert_string_equal(err->message, "detector limited has no parameter limits");
	gs_error_destroy(err);

	gs_engine_remove(engine, twin);
	assert_null(gs_engine_start(engine, see_first, &value));
	for (uint64_t wanted = 1000; wanted < 1010; wanted++) {
		assert_null(gs_detector_set_param(detector, "limit", wanted));
		while (__atomic_load_n(&value, __ATOMIC_ACQUIRE) != wanted)
			usleep(1000);
	}
	// As a monitor does it.
	assert_int_equal(monitor_set(engine, 0, "limit", 4711), 1009);
	while (__atomic_load_n(&value, __ATOMIC_ACQUIRE) != 4711)
		usleep(1000);
	gs_engine_destroy(engine);
	gs_engine_destroy(other);
}

static void unknown_engines_are_named(void **state)
{
	struct gs_engine *engine;
	struct gs_error *err = gs_engine_create("abacus", NULL, &engine);

	(void)state;
	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	assert_string_equal(err->message, "no engine is called abacus; there are: cuda, cpu, auto");
	gs_error_destroy(err);
}

static void the_cpu_stands_in_for_a_missing_gpu(void **state)
{
	struct gs_engine *engine;
	int kernel;

	(void)state;
	setenv("GPUSENTINEL_LIBCUDA", "/nonexistent/libcuda.so.1", 1);
	assert_null(gs_engine_create("auto", (struct gs_kernel *)&kernel, &engine));
	assert_string_equal(gs_engine_name(engine), "cpu");
	assert_non_null(strstr(gs_engine_why(engine), "no NVIDIA driver"));
	gs_engine_destroy(engine);

	struct gs_error *err = gs_engine_create("cuda", (struct gs_kernel *)&kernel, &engine);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_ENGINE);
	assert_non_null(strstr(err->message, "/nonexistent/libcuda.so.1"));
	gs_error_destroy(err);

	const char *name;
	char *why;

	assert_null(gs_engine_describe("auto", &name, &why));
	assert_string_equal(name, "cpu");
	free(why);
}

static void detectors_run_on_their_periods(void **state)
{
	struct gs_engine *engine = engine_create();
	struct gs_detector *counter = add(engine, COUNTER, (struct gs_detector_options){});
	struct gs_detector *slow =
		add(engine, READER, (struct gs_detector_options){ .period_us = 3600000000 });
	// One that never ends by itself does not hold the others up.
	struct gs_detector *endless =
		add(engine, ENDLESS,
		    (struct gs_detector_options){ .budget = 1 << 20, .period_us = 1000 });
	struct gs_run_stats stats;
	struct seen seen = {};
	struct timespec before, after;

	(void)state;
	struct gs_mailbox_heartbeat beat;
	struct gs_mailbox_detector row;

	assert_null(gs_engine_start(engine, see, &seen));

	struct gs_error *err = gs_engine_start(engine, see, &seen);

	assert_non_null(err);
	gs_error_destroy(err);
	usleep(300000);
	clock_gettime(CLOCK_MONOTONIC, &before);
	gs_engine_stop(engine);
	clock_gettime(CLOCK_MONOTONIC, &after);
	// Nobody waits for the hour to pass.
	assert_true(after.tv_sec - before.tv_sec < 10);

	// The mailbox says the same. Rows go by the list of detectors, the newest first.
	assert_null(gs_engine_heartbeat(engine, &beat));
	assert_in_range(beat.counter, 2, 5);
	assert_int_equal(beat.launched, 7);
	assert_null(gs_engine_row(engine, 2, &row));
	assert_string_equal(row.name, "counter");
	gs_detector_stats(counter, &stats);
	assert_int_equal(row.runs, stats.runs);
	assert_int_equal(row.records[GS_MAILBOX_DATA], stats.records);
	// 60 periods of 5 ms; a loaded machine may miss many, and must not make up for them.
	assert_in_range(stats.runs, 5, 62);
	assert_int_equal(stats.records, stats.runs);
	gs_detector_stats(slow, &stats);
	assert_int_equal(stats.runs, 1);
	gs_detector_stats(endless, &stats);
	assert_true(stats.runs > 1);
	assert_int_equal(stats.stopped_budget, stats.runs);

	size_t count = seen.count;

	usleep(20000);
	assert_int_equal(seen.count, count);

	// Once more, with one that comes and one that goes while it runs.
	assert_null(gs_engine_start(engine, see, &seen));
	gs_engine_remove(engine, endless);
	add(engine, FAULTY, (struct gs_detector_options){});
	gs_engine_destroy(engine);
	gs_engine_destroy(NULL);
}

static void numbers_go_on_in_the_next_engine(void **state)
{
	struct gs_mailbox_progress progress, next;
	struct gs_mailbox_detector row;
	struct gs_mailbox_export export;
	struct seen seen = {};

	(void)state;
	for (unsigned int epoch = 0; epoch < 3; epoch++) {
		struct gs_engine *engine = engine_create();
		struct gs_detector *counter = add(engine, COUNTER, (struct gs_detector_options){});
		struct gs_run_stats stats;
		struct gs_error *err = gs_engine_progress(engine, &next);

		assert_int_equal(err->code, GS_ERROR_USAGE);
		gs_error_destroy(err);
		gs_engine_resume(engine, epoch ? &progress : NULL);
		assert_null(gs_engine_start(engine, see, &seen));
		usleep(30000);
		gs_engine_stop(engine);
		assert_null(gs_engine_progress(engine, &next));
		assert_null(gs_engine_row(engine, 0, &row));
		assert_null(gs_engine_export(engine, &export));
		gs_detector_stats(counter, &stats);
		assert_int_equal(export.header->epoch, epoch);
		assert_int_equal(next.epoch, epoch);
		assert_int_equal(row.generation, epoch + 1);
		assert_int_equal(row.records[GS_MAILBOX_DATA],
				 stats.records +
					 (epoch ? progress.rows[0].records[GS_MAILBOX_DATA] : 0));
		assert_int_equal(next.rows[0].records[GS_MAILBOX_DATA],
				 row.records[GS_MAILBOX_DATA]);
		assert_true(!epoch ||
			    next.heads[GS_MAILBOX_DATA] > progress.heads[GS_MAILBOX_DATA]);
		progress = next;
		gs_engine_destroy(engine);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statics_last_from_run_to_run_but_not_between_engines),
		cmocka_unit_test(nothing_stays_behind),
		cmocka_unit_test(endless_loops_end),
		cmocka_unit_test(a_full_buffer_grows_and_the_run_is_repeated),
		cmocka_unit_test(failed_loads_are_reported),
		cmocka_unit_test(absent_pages_are_asked_for),
		cmocka_unit_test(parallel_detectors_run_on_one_thread),
		cmocka_unit_test(what_the_kernel_lacks_refuses_the_detector),
		cmocka_unit_test(parameters_are_set_while_detectors_run),
		cmocka_unit_test(unknown_engines_are_named),
		cmocka_unit_test(the_cpu_stands_in_for_a_missing_gpu),
		cmocka_unit_test(detectors_run_on_their_periods),
		cmocka_unit_test(numbers_go_on_in_the_next_engine),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s engine_sample.so\n", argv[0]);
		return 2;
	}

	struct gs_error *err = gs_fat_open(argv[1], &fat);

	if (err) {
		fprintf(stderr, "%s\n", err->message);
		gs_error_destroy(err);
		return 1;
	}

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	gs_fat_close(fat);
	return failed;
}
