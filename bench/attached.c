// SPDX-License-Identifier: Apache-2.0
// attached TARGET DETECTOR.so ROUNDS [WARM]: how long one run of a detector takes once everything is open, after WARM
// runs (default 0) that do not count; JSON.
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gpusentinel/engine.h>

#include "util/clock.h"

#define MAX_ROUNDS 10000

static void check(struct gs_error *error)
{
	if (error)
		errx(error->code, "%s", error->message);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void count_record(void *arg, const struct gs_record *record)
{
	(void)record;
	++*(uint64_t *)arg;
}

int main(int argc, char **argv)
{
	uint64_t times[MAX_ROUNDS], runs[MAX_ROUNDS], rows = 0;
	int rounds = argc >= 4 ? atoi(argv[3]) : 0;
	int warm = argc == 5 ? atoi(argv[4]) : 0;

	if (argc > 5 || rounds < 1 || rounds > MAX_ROUNDS || warm < 0 || warm > MAX_ROUNDS)
		errx(2, "usage: attached TARGET DETECTOR.so ROUNDS [WARM]");

	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_detector_options detector_options = { .size = sizeof(detector_options) };
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_engine *engine;
	struct gs_fat *fat;
	struct gs_detector *detector;

	check(gs_target_open(argv[1], &target_options, &target));
	check(gs_kernel_open(target, &kernel_options, &kernel));
	check(gs_engine_create("cpu", kernel, &engine));
	check(gs_fat_open(argv[2], &fat));
	check(gs_engine_add(engine, fat, 0, &detector_options, &detector));
	for (int i = 0; i < warm; i++)
		check(gs_detector_run(detector, count_record, &rows));
	for (int i = 0; i < rounds; i++) {
		rows = 0;
		uint64_t begin = clock_ns(CLOCK_MONOTONIC);
		check(gs_detector_run(detector, count_record, &rows));
		times[i] = clock_ns(CLOCK_MONOTONIC) - begin;

		struct gs_run_stats stats;

		gs_detector_stats(detector, &stats);
		runs[i] = stats.last_ns;
	}
	qsort(times, rounds, sizeof(*times), compare);
	qsort(runs, rounds, sizeof(*runs), compare);
	printf("{\"rounds\": %d, \"rows\": %llu, \"median_ms\": %.4f, \"min_ms\": %.4f, \"max_ms\": %.4f, "
	       "\"run_median_ms\": %.4f, \"run_max_ms\": %.4f}\n",
	       rounds, (unsigned long long)rows, times[rounds / 2] / 1e6, times[0] / 1e6,
	       times[rounds - 1] / 1e6, runs[rounds / 2] / 1e6, runs[rounds - 1] / 1e6);
	gs_engine_destroy(engine);
	gs_fat_close(fat);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return 0;
}
