// SPDX-License-Identifier: Apache-2.0
// Runs detectors once on the CPU and once on the GPU over the same memory and compares record for record;
// then lets all of them run by themselves on the GPU for two seconds.
//   compare TARGET DETECTOR.so...
// The memory must not change between the two: a core, or a guest that is stopped. Exit 0: equal, 1: not,
// 2: wrong use, 77: no GPU here.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gpusentinel/engine.h>

#include "util/array.h"

enum { SHOWN = 5, LIVE_MS = 2000, RUNS_MS = 20000, FILES_MAX = 64 };

// Records as lines of text, so that a difference can be shown.
struct lines {
	char **v;
	size_t count, capacity;
};

struct side {
	struct gs_engine *engine;
	struct lines lines;
	double ms;
	char *error;
};

static void die(struct gs_error *err, int code)
{
	fprintf(stderr, "compare: %s\n", err->message);
	gs_error_destroy(err);
	exit(code);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

// Everything that a record says but when it was written.
static void keep(void *arg, const struct gs_record *record)
{
	struct lines *lines = arg;
	char *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&line, &size);

	if (!out)
		abort();
	fprintf(out, "%d %d %x %u %" PRIu64 " %s |", record->kind, record->severity, record->flags,
		record->format, record->run, gs_record_text(record));
	for (size_t i = 0; i < record->count; i++)
		fprintf(out, " %s=%s%s%s", record->items[i].name, gs_record_item_text(record, i),
			record->items[i].cut ? "(cut)" : "",
			record->items[i].fault ? "(fault)" : "");
	fclose(out);
	if (!gs_array_push(lines->v, lines->count, lines->capacity, line))
		abort();
}

static void clear(struct side *side)
{
	for (size_t i = 0; i < side->lines.count; i++)
		free(side->lines.v[i]);
	free(side->lines.v);
	free(side->error);
	side->lines = (struct lines){};
	side->error = NULL;
}

static struct gs_run_stats run(struct side *side, struct gs_fat *fat, size_t index)
{
	struct gs_detector_options options = { .size = sizeof(options) };
	struct gs_detector *detector;
	struct gs_run_stats stats;
	struct gs_error *err = gs_engine_add(side->engine, fat, index, &options, &detector);

	if (err)
		die(err, 1);

	double start = now_ms();

	err = gs_detector_run(detector, keep, &side->lines);
	side->ms = now_ms() - start;
	side->error = strdup(err ? err->message : "");
	gs_error_destroy(err);
	gs_detector_stats(detector, &stats);
	gs_engine_remove(side->engine, detector);
	return stats;
}

static bool compare(struct side *cpu, struct side *gpu, struct gs_fat *fat, size_t index)
{
	struct gs_detector_info info;
	size_t differs = 0;

	gs_fat_detector_info(fat, index, &info);

	struct gs_run_stats c = run(cpu, fat, index), g = run(gpu, fat, index);
	size_t count = cpu->lines.count > gpu->lines.count ? cpu->lines.count : gpu->lines.count;

	for (size_t i = 0; i < count; i++) {
		const char *a = i < cpu->lines.count ? cpu->lines.v[i] : "(none)";
		const char *b = i < gpu->lines.count ? gpu->lines.v[i] : "(none)";

		if (!strcmp(a, b))
			continue;
		if (differs++ < SHOWN)
			printf("  record %zu\n    cpu  %s\n    cuda %s\n", i, a, b);
	}
	if (strcmp(cpu->error, gpu->error) || c.faults != g.faults ||
	    c.fault_address != g.fault_address || c.records_lost != g.records_lost) {
		differs++;
		printf("  cpu:  %" PRIu64 " faults from 0x%" PRIx64 ", %" PRIu64 " lost; %s\n"
		       "  cuda: %" PRIu64 " faults from 0x%" PRIx64 ", %" PRIu64 " lost; %s\n",
		       c.faults, c.fault_address, c.records_lost, cpu->error, g.faults,
		       g.fault_address, g.records_lost, gpu->error);
	}
	printf("%s %s: %zu records, %" PRIu64 " faults, %" PRIu64
	       " walks; cpu %.2f ms, cuda %.2f ms\n",
	       differs ? "differs" : "ok", info.name, gpu->lines.count, g.faults, g.walks, cpu->ms,
	       gpu->ms);
	clear(cpu);
	clear(gpu);
	return !differs;
}

static void count(void *arg, const struct gs_record *record)
{
	(void)record;
	++*(uint64_t *)arg;
}

static bool show_row(struct gs_engine *engine, uint32_t index)
{
	struct gs_mailbox_detector row;
	struct gs_error *err = gs_engine_row(engine, index, &row);

	if (err)
		die(err, 1);
	if (!row.name[0])
		return true;
	printf("%s %s: every %u ms, %" PRIu64 " runs, last %.3f ms, longest %.3f ms, %" PRIu64
	       " findings, %" PRIu64 " rows and metrics, %" PRIu64 " lost, %" PRIu64
	       " faults, %" PRIu64 " walks\n",
	       row.runs ? "ok" : "NO RUNS", row.name, row.period_us / 1000, row.runs,
	       (double)row.last_ns / 1e6, (double)row.max_ns / 1e6,
	       row.records[GS_MAILBOX_FINDINGS], row.records[GS_MAILBOX_DATA], row.lost, row.faults,
	       row.walks);
	return row.runs;
}

// A first run over many processes may take seconds.
static bool all_have_run(struct gs_engine *engine)
{
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		struct gs_mailbox_detector row;
		struct gs_error *err = gs_engine_row(engine, i, &row);

		if (err)
			die(err, 1);
		if (row.name[0] && !row.runs)
			return false;
	}
	return true;
}

// Without help from here: launched once, read at the end.
static bool live(struct gs_engine *engine, struct gs_fat **fats, size_t fat_count)
{
	struct gs_detector_options options = { .size = sizeof(options) };
	struct gs_mailbox_heartbeat beat = {};
	struct gs_detector *detector;
	uint64_t records = 0;
	struct gs_error *err = NULL;
	double start = now_ms();

	for (size_t i = 0; i < fat_count && !err; i++) {
		for (size_t j = 0; j < gs_fat_detector_count(fats[i]) && !err; j++)
			err = gs_engine_add(engine, fats[i], j, &options, &detector);
	}
	printf("all detectors loaded in %.0f ms\n", now_ms() - start);
	start = now_ms();
	if (!err)
		err = gs_engine_start(engine, count, &records);
	while (!err && !(beat.counter > 2) && now_ms() - start < 5000)
		err = gs_engine_heartbeat(engine, &beat);
	if (err)
		die(err, 1);
	printf("launched, and third heartbeat seen, after %.1f ms\n", now_ms() - start);
	nanosleep(&(struct timespec){ .tv_sec = LIVE_MS / 1000 }, NULL);

	struct gs_mailbox_heartbeat then = beat;

	err = gs_engine_heartbeat(engine, &beat);
	if (err)
		die(err, 1);
	start = now_ms();
	while (!all_have_run(engine) && now_ms() - start < RUNS_MS)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	start = now_ms();
	gs_engine_stop(engine);
	printf("stopped in %.1f ms\n", now_ms() - start);

	bool ok = beat.counter - then.counter > LIVE_MS / 4;

	printf("%s heartbeat: %" PRIu64 " beats in %.0f ms of the GPU's clock; launched 0x%" PRIx64
	       ", stalled 0x%" PRIx64 "; %" PRIu64 " records delivered\n",
	       ok ? "ok" : "SLOW", beat.counter - then.counter,
	       (double)(beat.time_ns - then.time_ns) / 1e6, beat.launched, beat.stalled, records);
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++)
		ok &= show_row(engine, i);
	return ok;
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_target *target;
	struct gs_kernel *kernel = NULL;
	struct side cpu = {}, gpu = {};
	const char *name;
	char *why;
	struct gs_fat *fats[FILES_MAX];
	size_t fat_count = 0;
	int status = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3 || argc - 2 > FILES_MAX) {
		fprintf(stderr, "usage: compare TARGET DETECTOR.so...\n");
		return 2;
	}

	struct gs_error *err = gs_engine_describe("cuda", &name, &why);

	if (err)
		die(err, 77);
	printf("%s: %s\n", name, why);
	free(why);
	err = gs_target_open(argv[1], &target_options, &target);
	if (!err)
		err = gs_kernel_open(target, &kernel_options, &kernel);
	if (!err)
		err = gs_engine_create("cpu", kernel, &cpu.engine);
	if (err)
		die(err, 1);

	double start = now_ms();

	err = gs_engine_create("cuda", kernel, &gpu.engine);
	if (err)
		die(err, 1);
	printf("GPU and memory ready in %.0f ms\n", now_ms() - start);
	for (int i = 2; i < argc; i++) {
		struct gs_fat *fat;

		err = gs_fat_open(argv[i], &fat);
		if (err)
			die(err, 1);
		for (size_t j = 0; j < gs_fat_detector_count(fat); j++)
			status |= !compare(&cpu, &gpu, fat, j);
		fats[fat_count++] = fat;
	}
	status |= !live(gpu.engine, fats, fat_count);
	gs_engine_destroy(gpu.engine);
	gs_engine_destroy(cpu.engine);
	for (size_t i = 0; i < fat_count; i++)
		gs_fat_close(fats[i]);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return status;
}
