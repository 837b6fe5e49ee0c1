// SPDX-License-Identifier: Apache-2.0
// mutate CORE DETECTORS COUNT [SEED [FIRST]]: run everything over COUNT damaged copies of a memory image.
//
// Each copy is the image with a few bytes changed in one kind of structure. Whatever they say, the
// library must refuse or report, in bounded time, without a crash; run it under ASan and UBSan. Image N of a
// seed is always the same: a failure names it, and "mutate CORE DETECTORS 1 SEED N" repeats it.
//
// Some images are opened from the start, as a core is. The others change under detectors that are attached, as the
// memory of a kernel does that goes wrong while it is watched; that is quick, since nothing is opened.
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/engine.h>

#include "image.h"

// No image may take longer; a walk that does not end is stopped by its budget long before.
#define SECONDS_PER_IMAGE 60
#define WORKERS 2
#define MAX_EDITS 16
#define DETECTORS 4

static const char *const detector_names[DETECTORS] = { "processes", "memory", "log", "system" };

struct edit {
	uint8_t *at;
	uint8_t old[8];
	size_t size;
};

// Shared by the workers and their parent.
struct progress {
	uint64_t current[WORKERS];
	uint64_t refused, rejected, incomplete, complete, slowest_ms, slowest;
};

// How often, of 40: damage to the note or to kallsyms mostly ends in a search for the tables, which is slow.
static const unsigned int weights[REGION_COUNT] = {
	[REGION_NOTE] = 1,   [REGION_PAGE_TABLES] = 8, [REGION_KALLSYMS] = 1, [REGION_BTF] = 3,
	[REGION_LISTS] = 14, [REGION_LOG] = 6,	       [REGION_ANYWHERE] = 7,
};

static uint64_t random_state;

// splitmix64 (Steele, Lea, Flood 2014)
static uint64_t random_u64(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t random_below(uint64_t limit)
{
	return random_u64() % limit;
}

static enum image_region random_region(void)
{
	unsigned int point = random_below(40);
	enum image_region region = 0;

	while (point >= weights[region])
		point -= weights[region++];
	return region;
}

// A value that a pointer or a page-table entry could be made to have.
static uint64_t hostile_value(const struct image *image, uint64_t old)
{
	switch (random_below(10)) {
	case 0:
		return 0;
	case 1:
		return random_u64();
	case 2:
		return UINT64_C(0x8000000000000000) | random_below(1 << 20);
	case 3:
		return random_below(UINT64_C(1) << 47);
	case 4:
		return UINT64_MAX - random_below(64);
	case 5:
		return old ^ (UINT64_C(1) << random_below(64));
	case 6:
		return old + 8 * random_below(512);
	case 7:
		return (old & 0xfff) | (random_below(1 << 20) << 12);
	default:
		return image->pointers[random_below(image->pointer_count)] +
		       8 * random_below(8) * random_below(64);
	}
}

static size_t mutate(const struct image *image, enum image_region region, struct edit *edits)
{
	size_t count = 1 + random_below(MAX_EDITS);

	for (size_t i = 0; i < count; i++) {
		const struct image_range *range =
			&image->ranges[region][random_below(image->count[region])];
		bool word = range->size >= 16 && random_below(2);
		struct edit *edit = &edits[i];

		edit->size = word ? 8 : 1;
		edit->at = range->bytes + random_below(range->size - edit->size + 1);
		if (word)
			edit->at -= (edit->at - range->bytes) % 8;
		memcpy(edit->old, edit->at, edit->size);
		if (word) {
			uint64_t value;

			memcpy(&value, edit->at, 8);
			value = hostile_value(image, value);
			memcpy(edit->at, &value, 8);
		} else {
			*edit->at ^= 1 << random_below(8);
		}
	}
	return count;
}

static void restore(const struct edit *edits, size_t count)
{
	// Backwards: edits may overlap.
	while (count--)
		memcpy(edits[count].at, edits[count].old, edits[count].size);
}

static void touch_record(void *arg, const struct gs_record *record)
{
	uint64_t *sum = arg;

	*sum += strlen(gs_record_text(record));
	for (size_t i = 0; i < record->count; i++)
		*sum += strlen(record->items[i].name) + strlen(gs_record_item_text(record, i));
}

static void die_of(struct gs_error *error)
{
	if (error)
		errx(1, "%s", error->message);
}

// A target with all that reads it.
struct watch {
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_engine *engine;
	struct gs_detector *detectors[DETECTORS];
	bool refused;
};

// Detector @only, or all of them if it is DETECTORS. False: the memory holds no kernel.
static bool watch_open(struct watch *watch, const struct image *image, struct gs_fat **fats,
		       uint64_t only)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_detector_options detector_options = {
		.size = sizeof(detector_options),
		.budget = random_below(16) ? 20000 : 400000,
	};

	*watch = (struct watch){};
	die_of(gs_target_open(image->spec, &options, &watch->target));

	struct gs_error *error = gs_kernel_open(watch->target, &kernel_options, &watch->kernel);

	if (error) {
		if (!*error->message || strchr(error->message, '\n'))
			errx(1, "not one line: '%s'", error->message);
		gs_error_destroy(error);
		gs_target_close(watch->target);
		return false;
	}
	die_of(gs_engine_create("cpu", watch->kernel, &watch->engine));
	for (size_t i = 0; i < DETECTORS; i++) {
		if (only < DETECTORS && only != i)
			continue;
		error = gs_engine_add(watch->engine, fats[i], 0, &detector_options,
				      &watch->detectors[i]);
		if (error) {
			watch->refused = true;
			watch->detectors[i] = NULL;
			gs_error_destroy(error);
		}
	}
	return true;
}

static void watch_close(struct watch *watch)
{
	gs_engine_destroy(watch->engine);
	gs_kernel_close(watch->kernel);
	gs_target_close(watch->target);
}

// What a user does: list something, name an address, list the modules.
static void watch_use(struct watch *watch, const struct image *image, struct progress *progress)
{
	bool incomplete = false;
	uint64_t sum = 0;

	for (size_t i = 0; i < DETECTORS; i++) {
		if (!watch->detectors[i])
			continue;

		struct gs_error *error = gs_detector_run(watch->detectors[i], touch_record, &sum);

		incomplete |= error != NULL;
		gs_error_destroy(error);
	}

	struct gs_module *modules = NULL;
	size_t module_count;
	char name[256];
	struct gs_error *error = gs_kernel_modules(watch->kernel, &modules, &module_count);

	incomplete |= error != NULL;
	gs_error_destroy(error);
	free(modules);
	gs_kernel_symbolize(watch->kernel, image->pointers[random_below(image->pointer_count)],
			    name, sizeof(name));
	__atomic_add_fetch(watch->refused ? &progress->rejected
			   : incomplete	  ? &progress->incomplete
					  : &progress->complete,
			   1, __ATOMIC_RELAXED);
}

static void examine(const struct image *image, struct gs_fat **fats, struct progress *progress)
{
	struct watch watch;

	// Mostly one detector: it is the symbols that each looks up that take the time.
	if (!watch_open(&watch, image, fats, random_below(DETECTORS + 1))) {
		__atomic_add_fetch(&progress->refused, 1, __ATOMIC_RELAXED);
		return;
	}
	watch_use(&watch, image, progress);
	watch_close(&watch);
}

// Does the kind of damage show to what is attached already? What is read once, on opening, does not change it.
static bool shows_when_attached(enum image_region region)
{
	return region != REGION_NOTE && region != REGION_KALLSYMS && region != REGION_BTF;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

static void work(const char *core, const char *detectors, uint64_t seed, uint64_t first,
		 uint64_t count, unsigned int worker, struct progress *progress)
{
	struct image image;
	struct gs_fat *fats[DETECTORS];

	struct watch attached;

	image_load(&image, core);
	for (size_t i = 0; i < DETECTORS; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s.so", detectors, detector_names[i]);
		die_of(gs_fat_open(path, &fats[i]));
	}
	if (!watch_open(&attached, &image, fats, DETECTORS) || attached.refused)
		errx(1, "%s: the unchanged image is refused", core);
	for (uint64_t i = first + worker; i < first + count; i += WORKERS) {
		struct edit edits[MAX_EDITS];
		uint64_t start = now_ms();

		random_state = seed ^ (i * UINT64_C(0xd1342543de82ef95));
		progress->current[worker] = i;
		alarm(SECONDS_PER_IMAGE);
		enum image_region region = random_region();
		size_t edit_count = mutate(&image, region, edits);
		if (shows_when_attached(region) && random_below(12))
			watch_use(&attached, &image, progress);
		else
			examine(&image, fats, progress);
		restore(edits, edit_count);

		uint64_t took = now_ms() - start;
		if (took > progress->slowest_ms) {
			progress->slowest_ms = took;
			progress->slowest = i;
		}
	}
	watch_close(&attached);
	for (size_t i = 0; i < DETECTORS; i++)
		gs_fat_close(fats[i]);
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc > 6)
		errx(2, "usage: mutate CORE DETECTORS COUNT [SEED [FIRST]]");

	uint64_t count = strtoull(argv[3], NULL, 0);
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
	uint64_t first = argc > 5 ? strtoull(argv[5], NULL, 0) : 0;
	struct progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[WORKERS];
	int status, result = 0;

	if (progress == MAP_FAILED)
		err(1, "mmap");
	for (unsigned int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			err(1, "fork");
		if (!pids[i])
			work(argv[1], argv[2], seed, first, count, i, progress);
	}
	for (unsigned int i = 0; i < WORKERS; i++) {
		if (waitpid(pids[i], &status, 0) < 0)
			err(1, "waitpid");
		if (!status)
			continue;
		result = 1;
		fprintf(stderr, "mutate: image %llu of seed %llu: %s %d\n",
			(unsigned long long)progress->current[i], (unsigned long long)seed,
			WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	printf("%llu images: %llu no kernel, %llu detectors refused, %llu incomplete, %llu complete; slowest %llu ms (image %llu)\n",
	       (unsigned long long)count, (unsigned long long)progress->refused,
	       (unsigned long long)progress->rejected, (unsigned long long)progress->incomplete,
	       (unsigned long long)progress->complete, (unsigned long long)progress->slowest_ms,
	       (unsigned long long)progress->slowest);
	return result;
}
