// SPDX-License-Identifier: Apache-2.0
// Which memory a run of a detector reads: how many loads it makes, and how many different sectors of 32 bytes, the
// unit in which a GPU fetches, they touch. Counted, not computed: the detector runs on the CPU over memory that
// may not be read; each load faults, is noted, and is done alone. A load that begins in one sector and ends in
// the next counts for the first of them only.
//   sectors TARGET DETECTOR.so...
// Prints lines "NAME loads N sectors N". Memory must not change: a core, or a guest that is stopped.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <gpusentinel/engine.h>
#include <gpusentinel/target.h>

#include "tool.h"

enum { PAGE = 4096, SECTOR = 32, TRAP_FLAG = 0x100, PAGES_OF_A_LOAD = 4, WATCHED_MAX = 64 };

// For the signal handlers.
static struct {
	const uint8_t *host;
	uint64_t size;
	uint64_t *touched;
} watched[WATCHED_MAX];
static size_t watched_count;
static uint64_t loads;
static void *opened[PAGES_OF_A_LOAD];
static volatile int opened_count;

static void on_load(int signal_number, siginfo_t *info, void *context)
{
	const uint8_t *at = info->si_addr;
	ucontext_t *user = context;

	for (size_t i = 0; i < watched_count; i++) {
		if (at < watched[i].host || at >= watched[i].host + watched[i].size ||
		    opened_count == PAGES_OF_A_LOAD)
			continue;

		uint64_t sector = (uint64_t)(at - watched[i].host) / SECTOR;
		void *page = (void *)((uintptr_t)at & ~(uintptr_t)(PAGE - 1));

		watched[i].touched[sector / 64] |= UINT64_C(1) << sector % 64;
		loads++;
		opened[opened_count++] = page;
		mprotect(page, PAGE, PROT_READ);
		user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
		return;
	}
	// Nobody's memory: a crash like any other.
	signal(signal_number, SIG_DFL);
}

static void on_step(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	(void)signal_number;
	(void)info;
	while (opened_count)
		mprotect(opened[--opened_count], PAGE, PROT_NONE);
	user->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void watch(const struct gs_segment *segments, size_t count)
{
	if (count > WATCHED_MAX) {
		fprintf(stderr, "sectors: %zu segments are too many\n", count);
		exit(1);
	}
	for (size_t i = 0; i < count; i++) {
		watched[i].host = segments[i].host;
		watched[i].size = segments[i].size;
		watched[i].touched = calloc(segments[i].size / SECTOR / 64 + 1, sizeof(uint64_t));
		if (!watched[i].touched)
			abort();
	}
	watched_count = count;

	struct sigaction load = { .sa_sigaction = on_load, .sa_flags = SA_SIGINFO };
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &load, NULL);
	sigaction(SIGTRAP, &step, NULL);
}

static void protect(int protection)
{
	for (size_t i = 0; i < watched_count; i++)
		mprotect((void *)watched[i].host, watched[i].size, protection);
}

static uint64_t touched_sectors(void)
{
	uint64_t sectors = 0;

	for (size_t i = 0; i < watched_count; i++) {
		for (uint64_t j = 0; j <= watched[i].size / SECTOR / 64; j++) {
			sectors += (uint64_t)__builtin_popcountll(watched[i].touched[j]);
			watched[i].touched[j] = 0;
		}
	}
	return sectors;
}

static void measure(struct gs_engine *engine, struct gs_fat *fat, size_t index)
{
	struct gs_detector_options options = { .size = sizeof(options) };
	struct gs_detector_info info;
	struct gs_detector *detector;

	gs_fat_detector_info(fat, index, &info);
	die_of(gs_engine_add(engine, fat, index, &options, &detector), 1);
	// What only a first run does is not counted.
	gs_error_destroy(gs_detector_run(detector, ignore, NULL));
	loads = 0;
	protect(PROT_NONE);

	struct gs_error *err = gs_detector_run(detector, ignore, NULL);

	protect(PROT_READ);
	printf("%s loads %" PRIu64 " sectors %" PRIu64 "%s%s\n", info.name, loads,
	       touched_sectors(), err ? " " : "", err ? err->message : "");
	gs_error_destroy(err);
	gs_engine_remove(engine, detector);
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_engine *engine;
	struct gs_target *target;
	struct gs_kernel *kernel;
	size_t count;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3) {
		fprintf(stderr, "usage: sectors TARGET DETECTOR.so...\n");
		return 2;
	}
	die_of(gs_target_open(argv[1], &target_options, &target), 1);
	die_of(gs_kernel_open(target, &kernel_options, &kernel), 1);
	die_of(gs_engine_create("cpu", kernel, &engine), 1);

	const struct gs_segment *segments = gs_target_segments(target, &count);

	watch(segments, count);
	for (int i = 2; i < argc; i++) {
		struct gs_fat *fat;

		die_of(gs_fat_open(argv[i], &fat), 1);
		for (size_t j = 0; j < gs_fat_detector_count(fat); j++)
			measure(engine, fat, j);
		gs_fat_close(fat);
	}
	gs_engine_destroy(engine);
	gs_kernel_close(kernel);
	gs_target_close(target);
	for (size_t i = 0; i < watched_count; i++)
		free(watched[i].touched);
	return 0;
}
