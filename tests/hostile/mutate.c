// SPDX-License-Identifier: Apache-2.0
// mutate [OPTION...] CORE DETECTORS COUNT [SEED [FIRST]]: run everything over COUNT damaged copies of a memory image.
//   -e cpu|cuda    which engine; default cpu
//   -p             detectors run by themselves all the time, as they always do on cuda, and not when asked to
//   -j WORKERS     processes, each with an image of its own; default 2
//   -t SECONDS     fewer images are a failure when the time is up; default: no limit
//
// Each copy is the image with a few bytes changed in one kind of structure. Whatever they say, the
// library must refuse or report, in bounded time, without a crash; run it under ASan and UBSan. Image N of a
// seed is always the same: a failure names it, and "mutate CORE DETECTORS 1 SEED N" repeats it.
//
// Some images are opened from the start, as a core is. The others change under detectors that are attached, as the
// memory of a kernel does that goes wrong while it is watched; that is quick, since nothing is opened. Where detectors
// run by themselves, the damage stays until each has ended a run that began after it.
#include <err.h>
#include <glob.h>
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
#define MAX_WORKERS 64
#define MAX_EDITS 16
#define MAX_DETECTORS 32
// A run that began after the damage may have to wait for the one before, and both for their budgets.
#define SECONDS_PER_RUN 30
#define SECONDS_PER_ROW 2

static const char *engine_name = "cpu";
static bool by_themselves;
static unsigned int workers = WORKERS;
static uint64_t seconds;
static struct gs_fat *fats[MAX_DETECTORS];
static size_t detector_count;

struct edit {
	uint8_t *at;
	uint8_t old[8];
	size_t size;
};

// Shared by the workers and their parent.
struct progress {
	uint64_t current[MAX_WORKERS];
	uint64_t refused, rejected, incomplete, complete, slowest_ms, slowest;
	// Keeps reading of records from being left out.
	uint64_t sum;
	// Of detectors that run by themselves: loads that failed, and runs that ended early.
	uint64_t faults, stopped;
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

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

// A target with all that reads it.
struct watch {
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_engine *engine;
	struct gs_detector *detectors[MAX_DETECTORS];
	// Where they run by themselves: place in the detector table.
	uint32_t rows[MAX_DETECTORS];
	bool refused;
};

// Of several processes on one GPU all but one are halted, perhaps in the middle of a row. After a fault of the GPU this
// fails, and goes on failing.
static struct gs_mailbox_detector read_row(const struct watch *watch, uint32_t index)
{
	uint64_t deadline = now_ms() + SECONDS_PER_ROW * 1000;
	struct gs_mailbox_detector row;
	struct gs_error *error;

	while ((error = gs_engine_row(watch->engine, index, &row))) {
		if (now_ms() > deadline)
			die_of(error);
		gs_error_destroy(error);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return row;
}

static void find_rows(struct watch *watch)
{
	for (size_t i = 0; i < detector_count; i++) {
		struct gs_detector_info info;

		if (!watch->detectors[i])
			continue;
		gs_detector_get_info(watch->detectors[i], &info);
		for (watch->rows[i] = 0; watch->rows[i] < GS_MAILBOX_DETECTORS; watch->rows[i]++) {
			if (!strcmp(read_row(watch, watch->rows[i]).name, info.name))
				break;
		}
		if (watch->rows[i] == GS_MAILBOX_DETECTORS)
			errx(1, "%s has no row in the mailbox", info.name);
	}
}

static void watch_start(struct watch *watch, struct progress *progress)
{
	die_of(gs_engine_start(watch->engine, touch_record, &progress->sum));
	find_rows(watch);
}

// Until every detector has ended a run that began after the call.
static void wait_runs(const struct watch *watch)
{
	uint64_t runs[MAX_DETECTORS], deadline = now_ms() + SECONDS_PER_RUN * 1000;

	for (size_t i = 0; i < detector_count; i++)
		runs[i] = watch->detectors[i] ? read_row(watch, watch->rows[i]).runs : 0;
	for (size_t i = 0; i < detector_count; i++) {
		// One run may be going on: it is the one after that.
		while (watch->detectors[i] && read_row(watch, watch->rows[i]).runs < runs[i] + 2) {
			if (now_ms() > deadline)
				errx(1, "%s hangs: no two runs within %d s",
				     read_row(watch, watch->rows[i]).name, SECONDS_PER_RUN);
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
		}
	}
}

// Detector @only, or all of them if it is detector_count. False: the memory holds no kernel.
static bool watch_open(struct watch *watch, const struct image *image, uint64_t only)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_detector_options detector_options = {
		.size = sizeof(detector_options),
		.budget = random_below(16) ? 20000 : 400000,
		.period_us = 1000,
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
	die_of(gs_engine_create(engine_name, watch->kernel, &watch->engine));
	for (size_t i = 0; i < detector_count; i++) {
		if (only < detector_count && only != i)
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

static void watch_count(const struct watch *watch, struct progress *progress)
{
	for (size_t i = 0; i < detector_count; i++) {
		if (!watch->detectors[i])
			continue;

		struct gs_mailbox_detector row = read_row(watch, watch->rows[i]);

		__atomic_add_fetch(&progress->faults, row.faults, __ATOMIC_RELAXED);
		__atomic_add_fetch(&progress->stopped,
				   row.stopped_budget + row.stopped_bounds + row.stopped_trap,
				   __ATOMIC_RELAXED);
	}
}

static void watch_close(struct watch *watch)
{
	gs_engine_destroy(watch->engine);
	gs_kernel_close(watch->kernel);
	gs_target_close(watch->target);
}

static bool run_once(struct watch *watch)
{
	bool incomplete = false;
	uint64_t sum = 0;

	for (size_t i = 0; i < detector_count; i++) {
		if (!watch->detectors[i])
			continue;

		struct gs_error *error = gs_detector_run(watch->detectors[i], touch_record, &sum);

		incomplete |= error != NULL;
		gs_error_destroy(error);
	}
	return incomplete;
}

// What a user does: list something, name an address, list the modules.
static void watch_use(struct watch *watch, const struct image *image, struct progress *progress)
{
	bool incomplete = false;

	if (by_themselves)
		wait_runs(watch);
	else
		incomplete = run_once(watch);

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

static void examine(const struct image *image, struct progress *progress)
{
	struct watch watch;

	// Mostly one detector: it is the symbols that each looks up that take the time.
	if (!watch_open(&watch, image, random_below(detector_count + 1))) {
		__atomic_add_fetch(&progress->refused, 1, __ATOMIC_RELAXED);
		return;
	}
	if (by_themselves)
		watch_start(&watch, progress);
	watch_use(&watch, image, progress);
	if (by_themselves) {
		gs_engine_stop(watch.engine);
		watch_count(&watch, progress);
	}
	watch_close(&watch);
}

// Does the kind of damage show to what is attached already? What is read once, on opening, does not change it.
static bool shows_when_attached(enum image_region region)
{
	return region != REGION_NOTE && region != REGION_KALLSYMS && region != REGION_BTF;
}

static void load_detectors(const char *directory)
{
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*.so", directory);
	if (glob(pattern, 0, NULL, &found) || found.gl_pathc > MAX_DETECTORS)
		errx(1, "%s: no detectors, or too many", pattern);
	for (size_t i = 0; i < found.gl_pathc; i++)
		die_of(gs_fat_open(found.gl_pathv[i], &fats[detector_count++]));
	globfree(&found);
}

// With the damage in place. What is attached already is told to end for that: while its kernels run, the driver makes
// whoever wants memory wait.
static void open_anew(struct watch *attached, const struct image *image, struct progress *progress)
{
	if (by_themselves)
		gs_engine_stop(attached->engine);
	examine(image, progress);
}

static void work(const char *core, const char *detectors, uint64_t seed, uint64_t first,
		 uint64_t count, unsigned int worker, struct progress *progress)
{
	uint64_t deadline = seconds ? now_ms() + seconds * 1000 : UINT64_MAX;
	struct image image;
	struct watch attached;

	image_load(&image, core);
	load_detectors(detectors);
	if (!watch_open(&attached, &image, detector_count) || attached.refused)
		errx(1, "%s: the unchanged image is refused", core);
	if (by_themselves)
		watch_start(&attached, progress);
	for (uint64_t i = first + worker; i < first + count && now_ms() < deadline; i += workers) {
		struct edit edits[MAX_EDITS];
		uint64_t start = now_ms();

		random_state = seed ^ (i * UINT64_C(0xd1342543de82ef95));
		progress->current[worker] = i;
		alarm(SECONDS_PER_IMAGE);
		enum image_region region = random_region();
		size_t edit_count = mutate(&image, region, edits);
		bool anew = !shows_when_attached(region) || !random_below(12);

		if (anew)
			open_anew(&attached, &image, progress);
		else
			watch_use(&attached, &image, progress);
		restore(edits, edit_count);
		if (anew && by_themselves)
			watch_start(&attached, progress);

		uint64_t took = now_ms() - start;
		if (took > progress->slowest_ms) {
			progress->slowest_ms = took;
			progress->slowest = i;
		}
	}
	alarm(SECONDS_PER_IMAGE);
	if (by_themselves) {
		gs_engine_stop(attached.engine);
		watch_count(&attached, progress);
	}
	watch_close(&attached);
	for (size_t i = 0; i < detector_count; i++)
		gs_fat_close(fats[i]);
	exit(0);
}

static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "e:pj:t:")) >= 0) {
		if (option == 'e' && (!strcmp(optarg, "cpu") || !strcmp(optarg, "cuda")))
			engine_name = optarg;
		else if (option == 'p')
			by_themselves = true;
		else if (option == 'j' && atoi(optarg) > 0 && atoi(optarg) <= MAX_WORKERS)
			workers = atoi(optarg);
		else if (option == 't' && atoi(optarg) > 0)
			seconds = atoi(optarg);
		else
			optind = argc;
	}
	// A core is copied to the GPU unless it is told to read it in place, as it reads the memory of a guest.
	if (!strcmp(engine_name, "cuda")) {
		by_themselves = true;
		setenv("GPUSENTINEL_CUDA_REGISTER", "1", 1);
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	argc -= optind;
	argv += optind;
	if (argc < 3 || argc > 5)
		errx(2,
		     "usage: mutate [-e cpu|cuda] [-p] [-j WORKERS] [-t SECONDS] CORE DETECTORS COUNT "
		     "[SEED [FIRST]]");

	uint64_t count = strtoull(argv[2], NULL, 0);
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	uint64_t first = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
	struct progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[MAX_WORKERS];
	int status, result = 0;

	if (progress == MAP_FAILED)
		err(1, "mmap");
	for (unsigned int i = 0; i < workers; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			err(1, "fork");
		if (!pids[i])
			work(argv[0], argv[1], seed, first, count, i, progress);
	}
	for (unsigned int i = 0; i < workers; i++) {
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

	uint64_t done =
		progress->refused + progress->rejected + progress->incomplete + progress->complete;

	printf("%llu images: %llu no kernel, %llu detectors refused, %llu incomplete, %llu complete; slowest %llu ms (image %llu)\n",
	       (unsigned long long)done, (unsigned long long)progress->refused,
	       (unsigned long long)progress->rejected, (unsigned long long)progress->incomplete,
	       (unsigned long long)progress->complete, (unsigned long long)progress->slowest_ms,
	       (unsigned long long)progress->slowest);
	if (by_themselves)
		printf("detectors by themselves: %llu loads failed, %llu runs ended early\n",
		       (unsigned long long)progress->faults, (unsigned long long)progress->stopped);
	if (done < count) {
		fprintf(stderr, "mutate: %llu of %llu images within the time\n",
			(unsigned long long)done, (unsigned long long)count);
		result = 1;
	}
	return result;
}
