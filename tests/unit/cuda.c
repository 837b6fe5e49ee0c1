// SPDX-License-Identifier: Apache-2.0
// The cuda engine on a driver that keeps books: order, sizes, failures, clean-up.
#include "cuda_rig.h"

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

// This machine's own memory is no page's, for the driver; and none of it is a hole.
static void frames_are_registered_as_io_memory(void **state)
{
	struct gs_engine *engine;

	(void)state;
	io_memory = true;
	new_page = 2;
	engine = created();
	io_memory = false;
	assert_ptr_equal(fake->registered[0].address, ram + 4096);
	assert_int_equal(fake->registered[0].size, 2 * 4096);
	for (int i = 0; i < fake->registered_count; i++)
		assert_int_equal(fake->registered[i].flags, CUDA_REGISTER_DEVICEMAP |
								    CUDA_REGISTER_READ_ONLY |
								    CUDA_REGISTER_IOMEMORY);
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
	if (!err)
		err = gs_detector_set_param(detector, "limit", 5);
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
		CUDA_FUNCTIONS(NAME) CUDA_FUNCTIONS_LATER(NAME)
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
		cmocka_unit_test_setup_teardown(frames_are_registered_as_io_memory, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(pages_that_come_later_are_registered, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(cores_are_copied_if_they_fit, setup, assert_clean),
		cmocka_unit_test_setup_teardown(runs_give_what_the_cpu_gives, setup, assert_clean),
		cmocka_unit_test_setup_teardown(detectors_that_do_not_fit_are_refused, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(gpus_are_asked_without_a_target, setup,
						assert_clean),
		cmocka_unit_test_setup_teardown(unusable_gpus_are_refused, setup, assert_clean),
		cmocka_unit_test_setup(every_call_may_fail, setup),
	};

	int status = rig_open(argc, argv);

	if (!status)
		status = cmocka_run_group_tests(tests, NULL, NULL);
	rig_close();
	return status;
}
