/* SPDX-License-Identifier: Apache-2.0 */
// The cuda engine on a driver that keeps books (fake_cuda.c), with the detectors of engine_sample.c.
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

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

enum { COUNTER, ENDLESS, FLOOD, FAULTY, READER, PARALLEL, LIMITED };
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

static inline void see(void *arg, const struct gs_record *record)
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

static inline int setup(void **state)
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

static inline int assert_clean(void **state)
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

static inline struct gs_error *create(struct gs_engine **ret)
{
	static int kernel;

	return gs_engine_create("cuda", (struct gs_kernel *)&kernel, ret);
}

static inline struct gs_engine *created(void)
{
	struct gs_engine *engine;
	struct gs_error *err = create(&engine);

	if (err)
		fail_msg("%s", err->message);
	assert_string_equal(gs_engine_name(engine), "cuda");
	return engine;
}

static inline struct gs_detector *add_every(struct gs_engine *engine, size_t index,
					    uint32_t period_us)
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

static inline struct gs_detector *add(struct gs_engine *engine, size_t index)
{
	return add_every(engine, index, 0);
}

static inline void wait_for(const unsigned int *count, unsigned int wanted)
{
	for (int i = 0; i < 6000 && __atomic_load_n(count, __ATOMIC_ACQUIRE) < wanted; i++)
		usleep(5000);
	assert_true(__atomic_load_n(count, __ATOMIC_ACQUIRE) >= wanted);
}

// Arguments of the program. @return its exit status; 0: go on.
static inline int rig_open(int argc, char **argv)
{
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
	return 0;
}

static inline void rig_close(void)
{
	gs_fat_close(fat);
	gs_fat_close(other_fat);
}

#endif
