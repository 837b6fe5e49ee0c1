// SPDX-License-Identifier: Apache-2.0
// The cuda engine on a driver that keeps books (fake_cuda.c): order, sizes, failures, clean-up.
#include <dlfcn.h>
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

#include "engine/cuda_api.h"
#include "cuda_target.h"
#include "fake_cuda.h"
#include "util/array.h"

enum { COUNTER, ENDLESS, FLOOD, FAULTY, READER, PARALLEL };
// The same file twice: to an engine, two files.
static struct gs_fat *fat, *other_fat;
static struct fake_cuda *fake;
static void (*fake_reset)(void);

struct seen {
	unsigned int count, findings;
	// Findings that show what the page holds; the largest first item of a row.
	unsigned int readable, largest;
	uint64_t values[2];
	char text[128];
};

static void see(void *arg, const struct gs_record *record)
{
	struct seen *seen = arg;

	seen->findings += record->kind == GS_RECORD_FINDING;
	for (size_t i = 0; i < record->count && i < 2; i++)
		seen->values[i] = record->items[i].u;
	snprintf(seen->text, sizeof(seen->text), "%s", gs_record_text(record));
	if (record->kind == GS_RECORD_FINDING && strstr(seen->text, "swapper"))
		__atomic_fetch_add(&seen->readable, 1, __ATOMIC_RELEASE);
	if (record->kind == GS_RECORD_ROW && seen->values[0] > seen->largest)
		__atomic_store_n(&seen->largest, (unsigned int)seen->values[0], __ATOMIC_RELEASE);
	__atomic_fetch_add(&seen->count, 1, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	frozen = false;
	new_page = 0;
	memset(present, 0, sizeof(present));
	memset(ram, 0, sizeof(ram));
	strcpy((char *)ram + 4096, "swapper/0");
	// Runs of 1, 3, and 70 pages over a border of words, and the last page.
	set_present(1);
	for (uint64_t page = 4; page < 7; page++)
		set_present(page);
	for (uint64_t page = 100; page < 170; page++)
		set_present(page);
	set_present(PAGES - 1);
	return 0;
}

static int assert_clean(void **state)
{
	(void)state;
	assert_int_equal(fake->allocations, 0);
	assert_int_equal(fake->registrations, 0);
	assert_int_equal(fake->modules, 0);
	assert_int_equal(fake->links, 0);
	assert_int_equal(fake->streams, 0);
	assert_int_equal(fake->contexts, 0);
	assert_int_equal(fake->pushed, 0);
	assert_int_equal(fake->misuses, 0);
	assert_int_equal(fake->unsafe, 0);
	return 0;
}

static struct gs_error *create(struct gs_engine **ret)
{
	static int kernel;

	return gs_engine_create("cuda", (struct gs_kernel *)&kernel, ret);
}

static struct gs_engine *created(void)
{
	struct gs_engine *engine;
	struct gs_error *err = create(&engine);

	if (err)
		fail_msg("%s", err->message);
	assert_string_equal(gs_engine_name(engine), "cuda");
	return engine;
}

static struct gs_detector *add_every(struct gs_engine *engine, size_t index, uint32_t period_us)
{
	struct gs_detector_options options = {
		.size = sizeof(options), .period_us = period_us, .budget = 1 << 20, .output = 1
	};
	struct gs_detector *detector;
	struct gs_error *err = gs_engine_add(engine, fat, index, &options, &detector);

	if (err)
		fail_msg("%s", err->message);
	return detector;
}

static struct gs_detector *add(struct gs_engine *engine, size_t index)
{
	return add_every(engine, index, 0);
}

static void assert_refused(const char *says)
{
	struct gs_engine *engine;
	struct gs_error *err = create(&engine);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_ENGINE);
	if (!strstr(err->message, says))
		fail_msg("%s", err->message);
	gs_error_destroy(err);
}

static void holes_are_not_registered(void **state)
{
	static const struct {
		uint64_t page, pages;
	} runs[] = { { 1, 1 }, { 4, 3 }, { 100, 70 }, { PAGES - 1, 1 } };
	struct gs_engine *engine = created();

	(void)state;
	assert_int_equal(fake->registered_count, ARRAY_SIZE(runs));
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		assert_ptr_equal(fake->registered[i].address, ram + runs[i].page * 4096);
		assert_int_equal(fake->registered[i].size, runs[i].pages * 4096);
		assert_int_equal(fake->registered[i].flags,
				 CUDA_REGISTER_DEVICEMAP | CUDA_REGISTER_READ_ONLY);
	}
	gs_engine_destroy(engine);
}

static void pages_that_come_later_are_registered(void **state)
{
	struct gs_engine *engine;
	struct gs_detector *reader;
	struct seen seen = {};

	(void)state;
	present[0] &= ~UINT64_C(2);
	engine = created();
	reader = add(engine, READER);

	struct gs_error *err = gs_detector_run(reader, see, &seen);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_INCOMPLETE);
	gs_error_destroy(err);
	new_page = 1;
	assert_null(gs_detector_run(reader, see, &seen));
	assert_string_equal(seen.text, "s=swapper/0 sym=init_task+0x1234");
	assert_ptr_equal(fake->registered[3].address, ram + 4096);
	gs_engine_destroy(engine);
}

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

static void cores_are_copied_if_they_fit(void **state)
{
	struct seen seen = {};
	struct gs_engine *engine;

	(void)state;
	frozen = true;
	engine = created();
	assert_int_equal(fake->registered_count, 0);
	assert_null(gs_detector_run(add(engine, READER), see, &seen));
	assert_string_equal(seen.text, "s=swapper/0 sym=init_task+0x1234");
	gs_engine_destroy(engine);

	setenv("GPUSENTINEL_CUDA_REGISTER", "1", 1);
	engine = created();
	unsetenv("GPUSENTINEL_CUDA_REGISTER");
	assert_int_equal(fake->registered_count, 4);
	gs_engine_destroy(engine);

	fake->registered_count = 0;
	fake->free_memory = 4096;
	engine = created();
	assert_int_equal(fake->registered_count, 4);
	gs_engine_destroy(engine);

	// Not aligned: only a copy will do.
	segment.host += 8;
	assert_refused("not aligned in the file");
	segment.host -= 8;
}

static void runs_give_what_the_cpu_gives(void **state)
{
	struct gs_engine *engine = created();
	struct gs_detector *counter = add(engine, COUNTER), *flood = add(engine, FLOOD);
	struct gs_detector *endless = add(engine, ENDLESS), *faulty = add(engine, FAULTY);
	struct gs_run_stats stats;
	struct seen seen = {};

	(void)state;
	// More than the smallest buffer holds: run again, in a larger one.
	assert_null(gs_detector_run(flood, see, &seen));
	assert_int_equal(seen.count, 5000);
	assert_null(gs_detector_run(counter, see, &seen));
	assert_int_equal(seen.values[1], 0);
	assert_null(gs_detector_run(counter, see, &seen));
	assert_int_equal(seen.values[1], 1);

	struct gs_error *err = gs_detector_run(endless, see, &seen);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "loop iterations"));
	gs_error_destroy(err);
	err = gs_detector_run(faulty, see, &seen);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "2 loads failed, the first at address 0x18"));
	gs_error_destroy(err);
	gs_detector_stats(faulty, &stats);
	assert_int_equal(stats.faults, 2);
	gs_engine_destroy(engine);
}

static void wait_for(const unsigned int *count, unsigned int wanted)
{
	for (int i = 0; i < 6000 && __atomic_load_n(count, __ATOMIC_ACQUIRE) < wanted; i++)
		usleep(5000);
	assert_true(__atomic_load_n(count, __ATOMIC_ACQUIRE) >= wanted);
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

static void assert_not_added(struct gs_engine *engine, size_t index, const char *says)
{
	struct gs_detector *detector;
	struct gs_error *err = gs_engine_add(engine, fat, index, NULL, &detector);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_DETECTOR);
	if (!strstr(err->message, says))
		fail_msg("%s", err->message);
	gs_error_destroy(err);
}

static void detectors_that_do_not_fit_are_refused(void **state)
{
	struct gs_engine *engine = created();

	(void)state;
	fake->max_threads = 0;
	assert_not_added(engine, COUNTER, "counter wants blocks of 1 threads; with the registers");
	fake->max_threads = 1024;
	fake->occupancy = 0;
	assert_not_added(engine, COUNTER, "too large for this GPU");
	// Four processors, each of which one takes for itself.
	fake->occupancy = 1;
	for (size_t i = COUNTER; i <= FAULTY; i++)
		add(engine, i);
	assert_not_added(engine, READER,
			 "reader needs 1.0 of the GPU's 4 processors for itself, and the other "
			 "detectors have 4.0");
	gs_engine_destroy(engine);
}

static void gpus_are_asked_without_a_target(void **state)
{
	struct gs_residency residency;
	struct gs_gpu *gpu;

	(void)state;
	assert_null(gs_gpu_open(&gpu));
	for (size_t i = 0; i < gs_fat_detector_count(fat); i++) {
		assert_null(gs_gpu_residency(gpu, fat, i, &residency));
		assert_int_equal(residency.registers, 40);
		assert_int_equal(residency.shared_bytes, 8192);
		assert_int_equal(residency.local_bytes, i == READER ? 512 : 64);
		// The buffer for records alone has 4 MiB.
		assert_true(residency.memory_bytes > 4 << 20);
		assert_true(residency.memory_bytes < 5 << 20);
	}
	// The supervisor's and the detectors'.
	assert_int_equal(fake->modules, 2);
	assert_null(gs_gpu_residency(gpu, other_fat, COUNTER, &residency));
	assert_int_equal(fake->modules, 2);

	struct gs_error *err = gs_gpu_residency(gpu, fat, gs_fat_detector_count(fat), &residency);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	gs_error_destroy(err);
	gs_gpu_close(gpu);
	gs_gpu_close(NULL);

	fake->devices = 0;
	err = gs_gpu_open(&gpu);
	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_ENGINE);
	gs_error_destroy(err);
}

static void unusable_gpus_are_refused(void **state)
{
	(void)state;
	fake->devices = 0;
	assert_refused("no GPU");
	fake->devices = 1;
	fake->version = 10020;
	assert_refused("supports CUDA 10.2, detectors need 11.0");
	fake->version = 12000;
	fake->major = 7;
	assert_refused("compute capability 7.0");
	fake->major = 8;
	fake->mode = CUDA_MODE_PROHIBITED;
	assert_refused("prohibited");
	fake->mode = CUDA_MODE_EXCLUSIVE;
	fake->fail_symbol = "cuDevicePrimaryCtxRetain";
	fake->fail_at = 1;
	fake->fail_with = CUDA_DEVICE_UNAVAILABLE;
	assert_refused("exclusive use by another process");
	fake->registers = 0;
	assert_refused("confidential-computing");
	fake->registers = 1;
	fake->shift = 4096;
	assert_refused("an address of its own");
}

// All that a program does; errors end it early.
static void live(void)
{
	struct gs_detector_options options = { .size = sizeof(options), .period_us = 1000 };
	struct gs_engine *engine;
	struct gs_detector *detector;
	struct seen seen = {};
	struct gs_error *err = create(&engine);

	if (err) {
		gs_error_destroy(err);
		return;
	}
	err = gs_engine_add(engine, fat, COUNTER, &options, &detector);
	if (!err)
		err = gs_detector_run(detector, see, &seen);
	if (!err)
		err = gs_engine_start(engine, see, &seen);
	// One that needs more local memory than those that run, one of a file that is to be loaded.
	if (!err)
		err = gs_engine_add(engine, fat, READER, &options, &detector);
	if (!err)
		gs_engine_remove(engine, detector);
	if (!err)
		err = gs_engine_add(engine, other_fat, COUNTER, &options, &detector);
	if (!err)
		gs_engine_remove(engine, detector);
	if (!err)
		gs_engine_stop(engine);
	gs_error_destroy(err);
	gs_engine_destroy(engine);
}

// Questions without a target.
static void ask(void)
{
	struct gs_residency residency;
	struct gs_gpu *gpu = NULL;
	struct gs_error *err = gs_gpu_open(&gpu);

	if (!err)
		err = gs_gpu_residency(gpu, fat, COUNTER, &residency);
	if (!err)
		err = gs_gpu_residency(gpu, other_fat, COUNTER, &residency);
	gs_error_destroy(err);
	gs_gpu_close(gpu);
}

static void every_call_of(void (*program)(void), unsigned int at_least)
{
	static const char *const symbols[] = {
#define NAME(member, symbol, parameters) #symbol,
		CUDA_FUNCTIONS(NAME)
	};
	unsigned int failures = 0;

	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		// Frequent ones fail the first times, then now and then.
		for (unsigned int n = 1; n < 300; n += n < 20 ? 1 : 41) {
			setup(NULL);
			fake->fail_symbol = symbols[i];
			fake->fail_at = n;
			fake->fail_with = n % 2 ? CUDA_OUT_OF_MEMORY : CUDA_ILLEGAL_ADDRESS;
			program();
			if (!fake->failed)
				break;
			failures++;
			// A context that cannot be used cannot be cleaned up either.
			if (!strcmp(symbols[i], "cuCtxPushCurrent_v2"))
				continue;
			if (fake->allocations || fake->registrations || fake->modules ||
			    fake->links || fake->streams || fake->contexts || fake->pushed ||
			    fake->misuses || fake->unsafe)
				fail_msg(
					"%s, call %u: %d allocations, %d registrations, %d modules, "
					"%d links, %d streams, %d contexts, %d pushed, %d misuses, %d unsafe",
					symbols[i], n, fake->allocations, fake->registrations,
					fake->modules, fake->links, fake->streams, fake->contexts,
					fake->pushed, fake->misuses, fake->unsafe);
		}
	}
	assert_true(failures > at_least);
}

static void every_call_may_fail(void **state)
{
	(void)state;
	every_call_of(live, 100);
	every_call_of(ask, 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(holes_are_not_registered, setup, assert_clean),
		cmocka_unit_test_setup_teardown(pages_that_come_later_are_registered, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(many_threads_write_records, setup, assert_clean),
		cmocka_unit_test_setup_teardown(cores_are_copied_if_they_fit, setup, assert_clean),
		cmocka_unit_test_setup_teardown(runs_give_what_the_cpu_gives, setup, assert_clean),
		cmocka_unit_test_setup_teardown(detectors_run_by_themselves, setup, assert_clean),
		cmocka_unit_test_setup_teardown(running_detectors_see_new_pages, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(running_detectors_get_larger_buffers, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(failures_of_running_kernels_are_reported, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(detectors_that_do_not_fit_are_refused, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(gpus_are_asked_without_a_target, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(unusable_gpus_are_refused, setup, assert_clean),
		cmocka_unit_test_setup(every_call_may_fail, setup),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s fake_cuda.so engine_sample.so\n", argv[0]);
		return 2;
	}
	setenv("GPUSENTINEL_LIBCUDA", argv[1], 1);

	void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	struct fake_cuda *(*get)(void);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	*(void **)&get = dlsym(library, "fake_cuda");
	*(void **)&fake_reset = dlsym(library, "fake_cuda_reset");
	fake = get();
	fake->detectors = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);

	struct gs_error *err = gs_fat_open(argv[2], &fat);

	if (!err)
		err = gs_fat_open(argv[2], &other_fat);
	if (err) {
		fprintf(stderr, "%s\n", err->message);
		gs_error_destroy(err);
		return 1;
	}

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	gs_fat_close(fat);
	gs_fat_close(other_fat);
	return failed;
}
