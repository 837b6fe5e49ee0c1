// SPDX-License-Identifier: Apache-2.0
// From a panic to its finding. The CPU writes panic_cpu of a memory image as a dying kernel does, and waits until the
// finding can be read in the mailbox; a thread that polls the same word tells what a watcher on the CPU
// would have needed. Detectors run by themselves on memory that is read in place.
//   latency [-e cuda|cpu] [-n PANICS] CORE DETECTOR.so
// Prints lines "NAME VALUE UNIT". Exit 0, 1: failed, 2: wrong use, 77: no such engine here.
#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/engine.h>

#include "../hostile/image.h"
#include "util/parse.h"
#include "tool.h"

enum { PANICS = 50, PANICS_MAX = 1000, SECONDS = 5, PANIC_CPU_INVALID = -1 };

struct run {
	struct gs_engine *engine;
	uint32_t row;
	volatile int32_t *word;
	// By the thread that polls the word: when it saw a panic; 0: not yet.
	uint64_t seen_ns;
	bool quit;
};

static void *poll_word(void *arg)
{
	struct run *run = arg;

	while (!__atomic_load_n(&run->quit, __ATOMIC_RELAXED)) {
		if (*run->word != PANIC_CPU_INVALID &&
		    !__atomic_load_n(&run->seen_ns, __ATOMIC_RELAXED))
			__atomic_store_n(&run->seen_ns, clock_ns(CLOCK_MONOTONIC),
					 __ATOMIC_RELAXED);
	}
	return NULL;
}

static struct gs_mailbox_detector read_row(struct run *run)
{
	struct gs_mailbox_detector row;

	die_of(gs_engine_row(run->engine, run->row, &row), 1);
	return row;
}

static void find_row(struct run *run, const char *name)
{
	for (run->row = 0; run->row < GS_MAILBOX_DETECTORS; run->row++) {
		if (!strncmp(read_row(run).name, name, sizeof(read_row(run).name)))
			return;
	}
	errx(1, "no row of %s in the mailbox", name);
}

// Two more runs have ended: one of them began after the call.
static void wait_runs(struct run *run)
{
	uint64_t runs = read_row(run).runs,
		 deadline = clock_ns(CLOCK_MONOTONIC) + SECONDS * UINT64_C(1000000000);

	while (read_row(run).runs < runs + 2) {
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			errx(1, "the detector does not run");
	}
}

// @seen_ret: how long the thread that polls the word took.
static uint64_t panic_once(struct run *run, int32_t cpu, uint64_t *seen_ret)
{
	wait_runs(run);

	uint64_t findings = read_row(run).records[GS_MAILBOX_FINDINGS];

	__atomic_store_n(&run->seen_ns, 0, __ATOMIC_RELAXED);
	// Anywhere in the period, not always behind the end of a run.
	nanosleep(&(struct timespec){ .tv_nsec = rand() % 1000000 }, NULL);

	uint64_t begin = clock_ns(CLOCK_MONOTONIC), end,
		 deadline = begin + SECONDS * UINT64_C(1000000000);

	*run->word = cpu;
	do {
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			errx(1, "no finding within %d s", SECONDS);
	} while (read_row(run).records[GS_MAILBOX_FINDINGS] == findings);
	end = clock_ns(CLOCK_MONOTONIC);
	// Late in seeing the panic before, it took that for this one: it looks again.
	for (uint64_t seen; (seen = __atomic_load_n(&run->seen_ns, __ATOMIC_RELAXED)) < begin;) {
		if (seen)
			__atomic_store_n(&run->seen_ns, 0, __ATOMIC_RELAXED);
	}
	*seen_ret = run->seen_ns - begin;
	*run->word = PANIC_CPU_INVALID;
	return end - begin;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(const char *name, uint64_t *values, uint64_t count)
{
	qsort(values, count, sizeof(*values), compare_u64);
	printf("%s_p50 %.1f us\n", name, (double)values[count / 2] / 1e3);
	printf("%s_p99 %.1f us\n", name, (double)values[(count * 99 + 99) / 100 - 1] / 1e3);
	printf("%s_max %.1f us\n", name, (double)values[count - 1] / 1e3);
}

static void measure(struct run *run, uint64_t count, bool verbose)
{
	uint64_t found[PANICS_MAX], seen[PANICS_MAX], reads[PANICS_MAX];
	pthread_t thread;

	if (pthread_create(&thread, NULL, poll_word, run))
		errx(1, "no thread");
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin = clock_ns(CLOCK_MONOTONIC);

		read_row(run);
		reads[i] = clock_ns(CLOCK_MONOTONIC) - begin;
		found[i] = panic_once(run, (int32_t)(i % 2), &seen[i]);
	}
	__atomic_store_n(&run->quit, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (uint64_t i = 0; verbose && i < count; i++)
		printf("panic %" PRIu64 ": finding %.1f us, word %.1f us, look %.1f us\n", i,
		       (double)found[i] / 1e3, (double)seen[i] / 1e3, (double)reads[i] / 1e3);
	report("finding", found, count);
	report("word", seen, count);
	// What looking costs is in the first.
	report("look", reads, count);
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_detector_options options = { .size = sizeof(options) };
	const char *engine_name = "auto";
	struct run run = {};
	struct gs_detector *detector;
	struct gs_detector_info info;
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_fat *fat;
	// Stays until the end.
	static struct image image;
	uint64_t count = PANICS, address;
	bool verbose = false;
	int option;

	while ((option = getopt(argc, argv, "e:n:v")) >= 0) {
		const char *text = optarg;

		if (option == 'e')
			engine_name = optarg;
		else if (option == 'v')
			verbose = true;
		else if (option != 'n' || !gs_parse_decimal(&text, &count) || *text || !count ||
			 count > PANICS_MAX)
			optind = argc;
	}
	if (argc - optind != 2)
		errx(2, "usage: latency [-e cuda|cpu] [-n PANICS] [-v] CORE DETECTOR.so");
	// A core is copied to the GPU unless it is told to read it in place, as it reads the memory of a guest.
	setenv("GPUSENTINEL_CUDA_REGISTER", "1", 1);
	image_load(&image, argv[optind]);
	die_of(gs_kernel_find_symbol(image.kernel, "panic_cpu", &address), 1);
	run.word = (volatile int32_t *)image_virtual(&image, address);
	if (!run.word || *run.word != PANIC_CPU_INVALID)
		errx(1, "%s: panic_cpu is not there, or the kernel has panicked", argv[optind]);
	die_of(gs_target_open(image.spec, &target_options, &target), 1);
	die_of(gs_kernel_open(target, &kernel_options, &kernel), 1);
	die_of(gs_engine_create(engine_name, kernel, &run.engine), 77);
	die_of(gs_fat_open(argv[optind + 1], &fat), 1);
	gs_fat_detector_info(fat, 0, &info);
	die_of(gs_engine_add(run.engine, fat, 0, &options, &detector), 1);
	die_of(gs_engine_start(run.engine, ignore, NULL), 1);
	find_row(&run, info.name);
	measure(&run, count, verbose);
	gs_engine_destroy(run.engine);
	gs_fat_close(fat);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return 0;
}
