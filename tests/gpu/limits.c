// SPDX-License-Identifier: Apache-2.0
// What the path from a processor to this machine's memory gives at best: latency of a load that depends on the one
// before, random reads, streaming. Kernels that do nothing else read a registered memfd of 4 KiB pages, as
// detectors read a guest's memory.
//   limits [-e cuda|cpu] [-s MIB]
// Prints lines "NAME VALUE UNIT". Exit 0, 1: failed, 2: wrong use, 77: no GPU here.
#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/cuda_api.h"
#include "util/array.h"
#include "util/parse.h"

#include "limits_kernels.h"
#include "tool.h"

enum {
	PAGE = 4096,
	DEFAULT_MIB = 16384,
	CHAINS_MAX = 16,
	STEPS = 20000,
	LONG_STEPS = 100000,
	PREFETCHES = 256,
	POPULATORS = 16,
	REPEATS = 3,
	BLOCK = 1024,
	// More than a whole card has; a launch takes as many as there are processors.
	BLOCKS_MAX = 1024,
	PROCESSORS = 16,
	REGISTER_CHUNK_MIB = 1024,
};

extern const char limits_ptx[];

struct limits {
	bool cpu;
	uint8_t *memory;
	uint64_t size;
	// The memory as kernels see it.
	uint64_t base;
	// Pages that have been made a node of some chain.
	uint64_t used_pages;
	uint32_t processors;
	struct cuda_api api;
	int device;
	struct CUctx_st *context;
	struct CUmod_st *module;
	struct CUstream_st *stream;
	// Two words for results, addresses for kernels to start from.
	cuda_address ret, table;
};

static void must(struct limits *limits, unsigned int result, const char *what)
{
	die_of(cuda_error(&limits->api, result, "%s", what), 1);
}

static void report(const char *name, double value, const char *unit)
{
	printf("%s %.6g %s\n", name, value, unit);
}

// --- memory

static void *populate(void *arg)
{
	volatile uint8_t **range = arg;

	for (volatile uint8_t *at = range[0]; at < range[1]; at += PAGE)
		*at = 0;
	return NULL;
}

static void map_memory(struct limits *limits)
{
	int fd = memfd_create("limits", MFD_CLOEXEC);
	pthread_t threads[POPULATORS];
	uint8_t *ranges[POPULATORS][2];

	if (fd < 0 || ftruncate(fd, (off_t)limits->size))
		err(1, "memfd");
	limits->memory = mmap(NULL, limits->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (limits->memory == MAP_FAILED)
		err(1, "%" PRIu64 " MiB", limits->size >> 20);
	madvise(limits->memory, limits->size, MADV_NOHUGEPAGE);
	for (int i = 0; i < POPULATORS; i++) {
		ranges[i][0] = limits->memory + limits->size / POPULATORS * i;
		ranges[i][1] = limits->memory + limits->size / POPULATORS * (i + 1);
		if (pthread_create(&threads[i], NULL, populate, ranges[i]))
			errx(1, "no thread");
	}
	for (int i = 0; i < POPULATORS; i++)
		pthread_join(threads[i], NULL);
	limits->base = (uint64_t)limits->memory;
	close(fd);
}

static void register_memory(struct limits *limits)
{
	const uint64_t chunk = (uint64_t)REGISTER_CHUNK_MIB << 20;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int read_only = 0;

	limits->api.device_attribute(&read_only, CUDA_ATTRIBUTE_READ_ONLY_REGISTER, limits->device);
	for (uint64_t at = 0; at < limits->size; at += chunk) {
		cuda_address device;
		uint64_t size = limits->size - at < chunk ? limits->size - at : chunk;

		must(limits,
		     limits->api.memory_register(limits->memory + at, size,
						 CUDA_REGISTER_DEVICEMAP |
							 (read_only ? CUDA_REGISTER_READ_ONLY : 0)),
		     "registering memory");
		must(limits, limits->api.memory_device_pointer(&device, limits->memory + at, 0),
		     "the GPU's address of registered memory");
		if (!at)
			limits->base = device;
		else if (device != limits->base + at)
			errx(1, "registered chunks do not adjoin in the GPU's address space");
	}
	report("register_ms", (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e6, "ms");
}

// --- the GPU

static void open_gpu(struct limits *limits)
{
	struct cuda_api *api = &limits->api;
	char name[96] = "";
	int count = 0, processors = 0;

	die_of(cuda_api_open(api), 77);
	die_of(cuda_error(api, api->init(0), "the NVIDIA driver does not start"), 77);
	if (api->device_count(&count) || count < 1)
		errx(77, "no GPU");
	must(limits, api->device_get(&limits->device, 0), "the first GPU");
	must(limits, api->device_name(name, sizeof(name) - 1, limits->device), "its name");
	must(limits, api->device_attribute(&processors, PROCESSORS, limits->device),
	     "its processors");
	limits->processors = processors < BLOCKS_MAX ? (uint32_t)processors : BLOCKS_MAX;
	must(limits, api->context_retain(&limits->context, limits->device), "its context");
	must(limits, api->context_push(limits->context), "its context");
	must(limits, api->module_load(&limits->module, limits_ptx, 0, NULL, NULL), "the kernels");
	must(limits, api->stream_create(&limits->stream, CUDA_STREAM_NON_BLOCKING), "a stream");
	must(limits, api->memory_alloc(&limits->ret, 2 * sizeof(uint64_t)), "GPU memory");
	must(limits, api->memory_alloc(&limits->table, PREFETCHES * sizeof(uint64_t)),
	     "GPU memory");
	fprintf(stderr, "limits: %s, %u processors\n", name, limits->processors);
}

static uint64_t launch(struct limits *limits, const char *name, uint32_t blocks, uint32_t threads,
		       void **parameters)
{
	struct CUfunc_st *function;

	must(limits, limits->api.module_function(&function, limits->module, name), name);
	must(limits, limits->api.stream_wait(limits->stream), "waiting");

	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	must(limits,
	     limits->api.launch(function, blocks, 1, 1, threads, 1, 1, 0, limits->stream,
				parameters, NULL),
	     name);
	must(limits, limits->api.stream_wait(limits->stream), name);
	return clock_ns(CLOCK_MONOTONIC) - begin;
}

// --- chains

typedef void chase_fn(const uint64_t *starts, uint64_t steps, uint64_t *ret);

// Runs a kernel that starts from addresses in a table and takes its own time.
static double run_chase(struct limits *limits, const char *name, chase_fn *fn,
			const uint64_t *table, size_t count, uint64_t steps)
{
	uint64_t result[2];

	if (limits->cpu) {
		fn(table, steps, result);
		return (double)result[0] / (double)steps;
	}

	void *parameters[] = { &limits->table, &steps, &limits->ret };

	must(limits,
	     limits->api.copy_to_device(limits->table, table, count * sizeof(*table),
					limits->stream),
	     "copying");
	launch(limits, name, 1, 1, parameters);
	must(limits,
	     limits->api.copy_from_device(result, limits->ret, sizeof(result), limits->stream),
	     "copying");
	must(limits, limits->api.stream_wait(limits->stream), "copying");
	return (double)result[0] / (double)steps;
}

// Offset of the next node: each in a page of its own, pages in an order without pattern, so that no cache and no
// prefetcher knows it.
static uint64_t next_node(struct limits *limits)
{
	uint64_t pages = limits->size / PAGE, page = limits->used_pages++;
	unsigned int bits = __builtin_ctzll(pages);

	if (page >= pages)
		errx(1, "%" PRIu64 " MiB are too little memory", limits->size >> 20);
	for (int i = 0; i < 3; i++) {
		page = page * UINT64_C(0x9e3779b97f4a7c15) & (pages - 1);
		page ^= page >> (bits / 2);
	}
	return page * PAGE +
	       (limits->used_pages * UINT64_C(0xbf58476d1ce4e5b9) >> 57) * LIMITS_SECTOR;
}

// A chain through memory that nothing has read yet, the last node pointing to itself. @table: its first nodes.
static uint64_t make_chain(struct limits *limits, uint64_t steps, uint64_t *table,
			   uint64_t table_count)
{
	uint64_t at = next_node(limits), start = at;

	for (uint64_t i = 0; i < steps; i++) {
		uint64_t next = i + 1 < steps ? next_node(limits) : at, address;

		if (i < table_count)
			table[i] = limits->base + at;
		address = limits->base + next;
		memcpy(limits->memory + at, &address, sizeof(address));
		at = next;
	}
	return limits->base + start;
}

static uint64_t chase_steps(const struct limits *limits)
{
	// All chains of all kinds have 128 nodes side by side at most.
	uint64_t steps = limits->size / PAGE / 128;

	return steps < STEPS ? steps : STEPS;
}

static void chase(struct limits *limits, const char *name, unsigned int chains, const char *kernel,
		  chase_fn *fn)
{
	uint64_t steps = chase_steps(limits), starts[CHAINS_MAX];
	char text[96];

	for (unsigned int i = 0; i < chains; i++)
		starts[i] = make_chain(limits, steps, NULL, 0);
	snprintf(text, sizeof(text), "chase_%s_%u", name, chains);
	report(text, run_chase(limits, kernel, fn, starts, chains, steps), "ns");
	if (chains > 1)
		return;

	// One line again and again: a cache shows.
	uint64_t self = make_chain(limits, 1, NULL, 0);

	snprintf(text, sizeof(text), "same_line_%s", name);
	report(text, run_chase(limits, kernel, fn, &self, 1, steps), "ns");
}

static void prefetched(struct limits *limits, const char *name, const char *kernel, chase_fn *fn)
{
	uint64_t table[PREFETCHES];
	char text[96];

	make_chain(limits, PREFETCHES, table, PREFETCHES);
	snprintf(text, sizeof(text), "prefetched_%s", name);
	report(text, run_chase(limits, kernel, fn, table, PREFETCHES, PREFETCHES), "ns");
}

static void chains(struct limits *limits)
{
	uint64_t pages = limits->size / PAGE;
	uint64_t steps = pages / 16 < LONG_STEPS ? pages / 16 : LONG_STEPS;
	uint64_t start = make_chain(limits, steps, NULL, 0);

	report("latency_ns",
	       run_chase(limits, "limits_chase_relaxed_sys_1", limits_chase_relaxed_sys_1, &start,
			 1, steps),
	       "ns");
#define RUN_CHASE(name, count)                                        \
	chase(limits, #name, count, "limits_chase_" #name "_" #count, \
	      limits_chase_##name##_##count);
	LIMITS_CHASES(RUN_CHASE)
#define RUN_PREFETCH(name) \
	prefetched(limits, #name, "limits_prefetch_" #name, limits_prefetch_##name);
	LIMITS_LOADS(RUN_PREFETCH)
}

// --- rates

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, REPEATS, sizeof(*values), compare_double);
	return values[REPEATS / 2];
}

typedef void random_fn(uint64_t base, uint64_t sector_mask, uint64_t rounds, uint64_t seed,
		       uint64_t *ret);

// Sectors a second.
static double random_rate(struct limits *limits, const char *kernel, random_fn *fn, uint32_t blocks,
			  uint32_t threads)
{
	uint64_t wanted = UINT64_C(4) << 20, each, seed, ignored;
	double rates[REPEATS];

	for (seed = 0; seed < REPEATS; seed++) {
		uint64_t mask = limits->size / LIMITS_SECTOR - 1, begin = clock_ns(CLOCK_MONOTONIC),
			 took;

		// A few threads are slow, and each of their loads tells as much.
		each = wanted / LIMITS_IN_FLIGHT / blocks / threads / (threads < 32 ? 16 : 1);
		each = each ? each : 1;
		if (limits->cpu) {
			fn(limits->base, mask, each, seed, &ignored);
			took = clock_ns(CLOCK_MONOTONIC) - begin;
		} else {
			void *parameters[] = { &limits->base, &mask, &each, &seed, &limits->ret };

			took = launch(limits, kernel, blocks, threads, parameters);
		}
		rates[seed] =
			(double)(each * LIMITS_IN_FLIGHT * blocks * threads) / (double)took * 1e9;
	}
	return median(rates);
}

static void randoms(struct limits *limits)
{
	static const struct {
		uint32_t blocks, threads;
	} shapes[] = { { 1, 1 },     { 1, 32 },	   { 1, 64 },	 { 1, 128 },
		       { 1, 256 },   { 1, 512 },   { 1, BLOCK }, { 2, BLOCK },
		       { 4, BLOCK }, { 8, BLOCK }, { 16, BLOCK } };
	double best = 0;
	char text[96];

	if (limits->cpu) {
		best = random_rate(limits, NULL, limits_random_1, 1, 1);
		report("random_block", best, "sectors/s");
		report("random_card", best, "sectors/s");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		double rate = random_rate(limits, "limits_random_1", NULL, shapes[i].blocks,
					  shapes[i].threads);

		snprintf(text, sizeof(text), "random_%ux%u", shapes[i].blocks, shapes[i].threads);
		report(text, rate, "sectors/s");
		best = rate > best ? rate : best;
	}
	report("random_block", random_rate(limits, "limits_random_1", NULL, 1, BLOCK), "sectors/s");

	double card = random_rate(limits, "limits_random_1", NULL, limits->processors, BLOCK);

	report("random_card_all_processors", card, "sectors/s");
	report("random_card", card > best ? card : best, "sectors/s");
	report("random_card_pairs",
	       random_rate(limits, "limits_random_2", NULL, limits->processors, BLOCK),
	       "sectors/s");
	report("random_card_fours",
	       random_rate(limits, "limits_random_4", NULL, limits->processors, BLOCK),
	       "sectors/s");
	report("random_block_fours", random_rate(limits, "limits_random_4", NULL, 1, BLOCK),
	       "sectors/s");
}

typedef void stream_fn(uint64_t base, uint64_t size, uint64_t *ret);

// Bytes a second.
static double stream_rate(struct limits *limits, const char *kernel, stream_fn *fn, uint32_t blocks,
			  uint32_t threads)
{
	const uint64_t limit = UINT64_C(2) << 30;
	uint64_t size = limits->size / 2 < limit ? limits->size / 2 : limit, ignored;
	double rates[REPEATS];

	for (int i = 0; i < REPEATS; i++) {
		uint64_t base = limits->base + (uint64_t)(i % 2) * size,
			 begin = clock_ns(CLOCK_MONOTONIC), took;

		if (limits->cpu) {
			fn(base, size, &ignored);
			took = clock_ns(CLOCK_MONOTONIC) - begin;
		} else {
			void *parameters[] = { &base, &size, &limits->ret };

			took = launch(limits, kernel, blocks, threads, parameters);
		}
		rates[i] = (double)size / (double)took * 1e9;
	}
	return median(rates);
}

static void streams(struct limits *limits)
{
	static const struct {
		const char *name, *kernel;
		stream_fn *fn;
		bool best;
	} kinds[] = {
		{ "stream_16", "limits_stream_16", limits_stream_16, true },
		{ "stream_16_weak", "limits_stream_16_weak", limits_stream_16_weak, true },
		{ "stream_8", "limits_stream_8", limits_stream_8, false },
	};
	static const uint32_t all_blocks[] = { 1, 4, 8, 16, 32, 64, 0 };
	double best = 0;
	char text[96];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(all_blocks); j++) {
			uint32_t blocks = all_blocks[j] ? all_blocks[j] : limits->processors;
			double rate =
				stream_rate(limits, kinds[i].kernel, kinds[i].fn, blocks, BLOCK);

			snprintf(text, sizeof(text), "%s_blocks_%u", kinds[i].name, blocks);
			report(text, rate, "bytes/s");
			if (kinds[i].best && rate > best)
				best = rate;
			if (limits->cpu)
				break;
		}
	}
	report("stream", best, "bytes/s");
}

int main(int argc, char **argv)
{
	struct limits limits = { .size = (uint64_t)DEFAULT_MIB << 20, .processors = 1 };
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt(argc, argv, "e:s:")) >= 0) {
		const char *text = optarg;
		uint64_t mib = 0;

		if (option == 'e' && (!strcmp(optarg, "cpu") || !strcmp(optarg, "cuda"))) {
			limits.cpu = !strcmp(optarg, "cpu");
		} else if (option == 's' && gs_parse_decimal(&text, &mib) && !*text && mib >= 16 &&
			   mib <= UINT64_C(1) << 20) {
			// A power of two, so that random places are had with a mask.
			limits.size = UINT64_C(1) << (63 - __builtin_clzll(mib << 20));
		} else {
			fprintf(stderr, "usage: limits [-e cuda|cpu] [-s MIB]\n");
			return 2;
		}
	}
	if (!limits.cpu)
		open_gpu(&limits);
	map_memory(&limits);
	report("memory_mib", (double)(limits.size >> 20), "MiB");
	report("populate_ms", (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e6, "ms");
	if (!limits.cpu)
		register_memory(&limits);
	chains(&limits);
	randoms(&limits);
	streams(&limits);
	report("seconds", (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e9, "s");
	// The context goes with the process, and registrations with it.
	return 0;
}
