// SPDX-License-Identifier: Apache-2.0
// How long a run of a detector takes, by the engine's own clock, while it runs by itself and alone.
//   times [-e cuda|cpu] [-n RUNS] TARGET DETECTOR.so...
// Prints lines "NAME runs N median_ns N min_ns N max_ns N records N lost N faults N stopped N"; records are those of
// one run. Exit 0, 1: failed, 2: wrong use, 77: no such engine here.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/engine.h>

#include "util/parse.h"
#include "tool.h"

enum { RUNS = 20, RUNS_MAX = 10000, SECONDS = 20, POLL_NS = 200000 };

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool find_row(struct gs_engine *engine, const char *name, struct gs_mailbox_detector *ret)
{
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		die_of(gs_engine_row(engine, i, ret), 1);
		// A row that was left keeps its name, but not for ever: names differ here.
		if (!strncmp(ret->name, name, sizeof(ret->name)))
			return true;
	}
	return false;
}

static void measure(struct gs_engine *engine, struct gs_fat *fat, size_t index, uint64_t wanted)
{
	struct gs_detector_options options = { .size = sizeof(options), .period_us = 1000 };
	struct gs_mailbox_detector row = {}, first = {};
	struct gs_detector_info info;
	struct gs_detector *detector;
	uint64_t times[RUNS_MAX], count = 0, seen = 0, begin = clock_ns(CLOCK_MONOTONIC);

	gs_fat_detector_info(fat, index, &info);
	die_of(gs_engine_add(engine, fat, index, &options, &detector), 1);
	die_of(gs_engine_start(engine, ignore, NULL), 1);
	while (count < wanted &&
	       clock_ns(CLOCK_MONOTONIC) - begin < SECONDS * UINT64_C(1000000000)) {
		nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
		if (!find_row(engine, info.name, &row) || row.runs == seen)
			continue;
		// The first run fills caches, and may write what later ones do not.
		if (seen)
			times[count++] = row.last_ns;
		else
			first = row;
		seen = row.runs;
	}
	gs_engine_stop(engine);
	gs_engine_remove(engine, detector);
	if (!count) {
		fprintf(stderr, "times: %s: no two runs within %d s\n", info.name, SECONDS);
		exit(1);
	}
	qsort(times, count, sizeof(*times), compare_u64);

	uint64_t runs = row.runs - first.runs, records = 0;

	for (int i = 0; i < GS_MAILBOX_RINGS; i++)
		records += row.records[i] - first.records[i];
	printf("%s runs %" PRIu64 " median_ns %" PRIu64 " min_ns %" PRIu64 " max_ns %" PRIu64
	       " records %" PRIu64 " lost %" PRIu64 " faults %" PRIu64 " stopped %" PRIu64 "\n",
	       info.name, count, times[count / 2], times[0], times[count - 1],
	       runs ? records / runs : 0, row.lost, row.faults,
	       row.stopped_budget + row.stopped_bounds + row.stopped_trap);
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	const char *engine_name = "auto";
	struct gs_engine *engine;
	struct gs_target *target;
	struct gs_kernel *kernel;
	uint64_t runs = RUNS;
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt(argc, argv, "e:n:")) >= 0) {
		const char *text = optarg;

		if (option == 'e')
			engine_name = optarg;
		else if (option != 'n' || !gs_parse_decimal(&text, &runs) || *text || !runs ||
			 runs > RUNS_MAX)
			optind = argc;
	}
	if (argc - optind < 2) {
		fprintf(stderr, "usage: times [-e cuda|cpu] [-n RUNS] TARGET DETECTOR.so...\n");
		return 2;
	}
	die_of(gs_target_open(argv[optind++], &target_options, &target), 1);
	die_of(gs_kernel_open(target, &kernel_options, &kernel), 1);
	die_of(gs_engine_create(engine_name, kernel, &engine), 77);
	for (; optind < argc; optind++) {
		struct gs_fat *fat;

		die_of(gs_fat_open(argv[optind], &fat), 1);
		for (size_t i = 0; i < gs_fat_detector_count(fat); i++)
			measure(engine, fat, i, runs);
		gs_fat_close(fat);
	}
	gs_engine_destroy(engine);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return 0;
}
