// SPDX-License-Identifier: Apache-2.0
// The cuda engine on a driver that keeps books: detectors that run by themselves.
#include "cuda_rig.h"
#include "monitor.h"

static void see_sum(void *arg, const struct gs_record *record)
{
	__atomic_fetch_add((uint64_t *)arg, record->items[0].u + (UINT64_C(1) << 32),
			   __ATOMIC_RELAXED);
}

static void many_threads_write_records(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *detector = add(engine, PARALLEL);
	struct gs_run_stats stats;
	uint64_t sum = 0;

	(void)state;
	assert_null(gs_detector_run(detector, see_sum, &sum));
	assert_int_equal(fake->launched_threads * fake->launched_blocks, 64);

	assert_null(gs_engine_start(engine, see_sum, &sum));
	while (__atomic_load_n(&sum, __ATOMIC_RELAXED) >> 32 < 800)
		usleep(10000);
	gs_engine_stop(engine);
	gs_detector_stats(detector, &stats);
	assert_int_equal(stats.records_lost, 0);
	assert_int_equal(sum, (stats.runs + 1) * (UINT64_C(200) << 32 | 199 * 200 / 2));
	gs_engine_destroy(engine);
}

static void see_first(void *arg, const struct gs_record *record)
{
	__atomic_store_n((uint64_t *)arg, record->items[0].u, __ATOMIC_RELEASE);
}

static void parameters_are_set_while_detectors_run(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *detector = add(engine, LIMITED);
	uint64_t value = 0;

	(void)state;
	assert_null(gs_detector_run(detector, see_first, &value));
	assert_int_equal(value, 7);
	assert_null(gs_detector_set_param(detector, "limit", UINT64_MAX));
	assert_null(gs_detector_run(detector, see_first, &value));
	assert_int_equal(value, UINT64_MAX);

	assert_null(gs_engine_start(engine, see_first, &value));
	for (uint64_t wanted = 1000; wanted < 1010; wanted++) {
		assert_null(gs_detector_set_param(detector, "limit", wanted));
		while (__atomic_load_n(&value, __ATOMIC_ACQUIRE) != wanted)
			usleep(1000);
	}
	// As a monitor does it.
	fake->dma_buf = 1;
	assert_int_equal(monitor_set(engine, 0, "limit", 4711), 1009);
	while (__atomic_load_n(&value, __ATOMIC_ACQUIRE) != 4711)
		usleep(1000);
	gs_engine_destroy(engine);
}

static void detectors_run_by_themselves(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER), *reader = add(engine, READER);
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.count, 10);

	struct gs_error *err = gs_detector_run(counter, see, &seen);

	assert_non_null(err);
	gs_error_destroy(err);
	// One comes and one goes; neither the driver's nor our calls wait for what runs.
	struct gs_detector *endless = add(engine, ENDLESS);

	gs_engine_remove(engine, reader);

	unsigned int before = seen.count;

	wait_for(&seen.count, before + 10);
	gs_engine_stop(engine);
	gs_detector_stats(counter, &stats);
	assert_true(stats.runs > 10);
	// Nothing was lost, and the last ones were delivered.
	assert_int_equal(stats.records, stats.runs);
	assert_int_equal(stats.records_lost, 0);
	gs_detector_stats(endless, &stats);
	assert_true(stats.stopped_budget > 0);
	assert_string_equal(stats.stop_site, "sample.c:40");
	assert_true(seen.findings > 0);

	struct gs_mailbox_heartbeat beat;
	struct gs_mailbox_detector row;

	assert_null(gs_engine_heartbeat(engine, &beat));
	assert_int_equal(beat.state, GS_MAILBOX_STOPPED);
	assert_true(beat.counter > 10);
	// Rows go by the list of detectors, the newest first; the first one was removed.
	assert_null(gs_engine_row(engine, 0, &row));
	assert_int_equal(row.state, GS_MAILBOX_EMPTY);
	assert_null(gs_engine_row(engine, 1, &row));
	assert_int_equal(row.state, GS_MAILBOX_STOPPED);
	assert_string_equal(row.name, "counter");

	struct gs_mailbox_export export;
	struct gs_mailbox_header header;

	// Not every driver can.
	err = gs_engine_export(engine, &export);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "does not export memory as dma-buf"));
	gs_error_destroy(err);
	fake->dma_buf = 1;
	assert_null(gs_engine_export(engine, &export));
	assert_null(export.memory);
	assert_int_equal(pread(export.fd, &header, sizeof(header), 0), sizeof(header));
	assert_memory_equal(header.magic, GS_MAILBOX_MAGIC, sizeof(header.magic));
	assert_int_equal(header.size, export.size);

	before = seen.count;
	usleep(30000);
	assert_int_equal(seen.count, before);
	// Goes on where it was.
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.count, before + 5);
	assert_true(seen.values[0] > 5 || seen.findings);
	gs_engine_destroy(engine);
}

static void running_detectors_see_new_pages(void **state)
{
	struct gs_engine *engine;
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	present[0] &= ~UINT64_C(2);
	engine = created();

	struct gs_detector *reader = add(engine, READER);
	int registered = fake->registered_count;

	assert_null(gs_engine_start(engine, see, &seen));

	unsigned int launches = fake->launches;

	new_page = 1;
	wait_for(&seen.readable, 1);
	assert_int_equal(fake->registered_count, registered + 1);
	assert_int_equal(fake->launches, launches);
	gs_engine_stop(engine);
	gs_detector_stats(reader, &stats);
	assert_true(stats.faults > 0);
	gs_engine_destroy(engine);
}

static void running_detectors_get_larger_buffers(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER);
	// No faster than the reader takes it with sanitizers.
	struct gs_detector *flood = add_every(engine, FLOOD, 50000);
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	assert_null(gs_engine_start(engine, see, &seen));

	unsigned int launches = fake->launches;

	// 64 KiB become 256, by two launches of this one kernel, and hold all of a run's records.
	wait_for(&seen.largest, 4999);
	assert_int_equal(fake->launches, launches + 2);
	gs_engine_stop(engine);
	assert_null(gs_engine_error(engine));
	gs_detector_stats(flood, &stats);
	assert_true(stats.records_lost > 0);
	gs_detector_stats(counter, &stats);
	assert_int_equal(stats.records_lost, 0);
	gs_engine_destroy(engine);
}

static void failures_of_running_kernels_are_reported(void **state)
{
	struct gs_engine *engine = created();
	const struct gs_error *err = NULL;
	struct seen seen = {};

	(void)state;
	add(engine, COUNTER);
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.count, 3);
	assert_null(gs_engine_error(engine));
	fake->fail_with = CUDA_ILLEGAL_ADDRESS;
	fake->fail_at = 1;
	__atomic_store_n(&fake->fail_symbol, "cuMemcpyDtoHAsync_v2", __ATOMIC_RELEASE);
	for (int i = 0; i < 1000 && !err; i++) {
		usleep(5000);
		err = gs_engine_error(engine);
	}
	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_ENGINE);
	assert_non_null(strstr(err->message, "CUDA_ERROR_OF_A_TEST, 700"));
	gs_engine_stop(engine);
	// What ended the last time is no reason not to begin again.
	assert_null(gs_engine_start(engine, see, &seen));
	assert_null(gs_engine_error(engine));
	gs_engine_destroy(engine);
}

// Rows are many: who asks for findings gets those, and all are counted.
static void records_that_nobody_wants_are_counted(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER), *reader = add(engine, READER);
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	gs_engine_set_kinds(engine, 1u << GS_RECORD_FINDING);
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.findings, 10);
	gs_engine_stop(engine);
	assert_int_equal(seen.count, seen.findings);
	gs_detector_stats(reader, &stats);
	assert_int_equal(stats.records, stats.runs);
	gs_detector_stats(counter, &stats);
	assert_true(stats.runs > 0);
	assert_int_equal(stats.records, stats.runs);
	assert_int_equal(stats.records_lost, 0);
	gs_engine_destroy(engine);
}

// Who looks at the rows of one detector does not get those of the others.
static void rows_of_one_detector_are_wanted(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER), *reader = add(engine, READER);
	struct gs_run_stats counted, read;
	struct seen seen = {};

	(void)state;
	gs_engine_set_kinds(engine, 0);
	gs_detector_add_kinds(counter, 1u << GS_RECORD_ROW);
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.count, 10);
	gs_engine_stop(engine);
	gs_detector_stats(counter, &counted);
	gs_detector_stats(reader, &read);
	assert_int_equal(seen.findings, 0);
	assert_int_equal(seen.count, counted.records);
	assert_int_equal(read.records, read.runs);
	gs_engine_destroy(engine);
}

static void numbers_go_on_in_the_next_engine(void **state)
{
	struct gs_mailbox_progress progress = { .epoch = 6 };
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER);
	struct gs_mailbox_detector row;
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	progress.heads[GS_MAILBOX_DATA] = 1000000;
	progress.rows[0] = (struct gs_mailbox_row_progress){ 3, { 8, 500 } };
	gs_engine_resume(engine, &progress);
	assert_null(gs_engine_start(engine, see, &seen));
	wait_for(&seen.count, 5);
	gs_engine_stop(engine);
	assert_null(gs_engine_progress(engine, &progress));
	assert_null(gs_engine_row(engine, 0, &row));
	gs_detector_stats(counter, &stats);
	assert_int_equal(progress.epoch, 7);
	assert_true(progress.heads[GS_MAILBOX_DATA] >= 1000005);
	assert_int_equal(row.generation, 4);
	assert_int_equal(row.records[GS_MAILBOX_FINDINGS], 8);
	assert_int_equal(row.records[GS_MAILBOX_DATA], 500 + stats.records);
	// What was there before has not been lost here.
	assert_int_equal(stats.records_lost, 0);
	gs_engine_destroy(engine);
}

int main(int argc, char **argv)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, assert_clean)
	const struct CMUnitTest tests[] = {
		TEST(many_threads_write_records),
		TEST(parameters_are_set_while_detectors_run),
		TEST(detectors_run_by_themselves),
		TEST(records_that_nobody_wants_are_counted),
		TEST(rows_of_one_detector_are_wanted),
		TEST(running_detectors_see_new_pages),
		TEST(running_detectors_get_larger_buffers),
		TEST(failures_of_running_kernels_are_reported),
		TEST(numbers_go_on_in_the_next_engine),
	};

	int status = rig_open(argc, argv);

	if (!status)
		status = cmocka_run_group_tests(tests, NULL, NULL);
	rig_close();
	return status;
}
