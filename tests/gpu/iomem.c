// SPDX-License-Identifier: Apache-2.0
// The driver's path that -t host goes: memory that is mapped as page frames (VM_IO, VM_PFNMAP), without pages to pin, is
// registered with IOMEMORY|READ_ONLY, and a kernel that polls it sees every write of the CPU. A perf ring of one
// page is such memory where the kernel maps rings in advance (kernel/events/core.c, map_range()), and needs no module.
//   iomem [-e cuda] [-n WRITES]
// Half of the writes are seen while the mapping is there, and half when it has been given up (PROT_NONE), as
// -t host may. Prints lines "NAME VALUE UNIT". Exit 0, 1: failed, 2: wrong use, 77: no GPU, or no such memory.
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/cuda_api.h"
#include "util/parse.h"

#include "tool.h"

enum { PAGE = 4096, PAGES = 16, WRITES = 100000, PATIENCE_S = 5 };

extern const char iomem_ptx[];

struct page {
	// Of the same page: what the CPU writes through, and what the GPU is given.
	volatile uint8_t *writable;
	uint8_t *mapped;
	// Of the word that is polled, in the page.
	size_t word;
};

struct iomem {
	struct page pages[PAGES];
	struct cuda_api api;
	int device;
	struct CUctx_st *context;
	struct CUmod_st *module;
	struct CUfunc_st *function;
	struct CUstream_st *stream;
	cuda_address words;
	// Ordinary memory that the kernel writes: the last number seen, then a word of each page.
	volatile uint64_t *answers;
	cuda_address device_answers;
};

static void must(struct iomem *iomem, unsigned int result, const char *what)
{
	die_of(cuda_error(&iomem->api, result, "%s", what), 1);
}

// --- memory

// proc(5), VmFlags: io, pf: of the kind that -t host maps.
static bool is_page_frames(const void *address)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false, found = false;

	if (!smaps)
		err(1, "/proc/self/smaps");
	while (!found && fgets(line, sizeof(line), smaps)) {
		unsigned long begin, end;

		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = begin == (unsigned long)address;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, " io ") && strstr(line, " pf ");
	}
	fclose(smaps);
	return found;
}

static void map_page(struct page *page, size_t index)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.disabled = 1,
		.exclude_kernel = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	uint64_t text;

	if (fd < 0)
		err(errno == ENOSYS || errno == EPERM || errno == EACCES ? 77 : 1,
		    "perf_event_open, for a page that is mapped as page frames");
	page->writable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	page->mapped = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (page->writable == MAP_FAILED || page->mapped == MAP_FAILED)
		err(1, "a perf ring");
	close(fd);
	if (!is_page_frames(page->mapped))
		errx(77, "this kernel maps perf rings as pages, not as page frames");
	// The kernel's own words are at the page's begin (struct perf_event_mmap_page).
	page->word = PAGE / 2 + index * 64;
	text = UINT64_C(0x6770757365000000) + index;
	memcpy((void *)(page->writable + page->word + 8), &text, sizeof(text));
}

// Beside the word that is polled the GPU has found what the CPU had written there before.
static void check_copy(const struct iomem *iomem)
{
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t written;

		memcpy(&written, (void *)(iomem->pages[i].writable + iomem->pages[i].word + 8),
		       sizeof(written));
		if (iomem->answers[1 + i] != written)
			errx(1,
			     "page %zu: the GPU reads 0x%" PRIx64
			     ", the CPU has written 0x%" PRIx64,
			     i, iomem->answers[1 + i], written);
	}
}

// --- the GPU

static void open_gpu(struct iomem *iomem)
{
	struct cuda_api *api = &iomem->api;
	int count = 0, read_only = 0;

	die_of(cuda_api_open(api), 77);
	die_of(cuda_error(api, api->init(0), "the NVIDIA driver does not start"), 77);
	if (api->device_count(&count) || count < 1)
		errx(77, "no GPU");
	must(iomem, api->device_get(&iomem->device, 0), "the first GPU");
	must(iomem,
	     api->device_attribute(&read_only, CUDA_ATTRIBUTE_READ_ONLY_REGISTER, iomem->device),
	     "whether it registers memory for reading");
	if (!read_only)
		errx(77, "this GPU registers no memory for reading alone");
	must(iomem, api->context_retain(&iomem->context, iomem->device), "its context");
	must(iomem, api->context_push(iomem->context), "its context");
	must(iomem, api->module_load(&iomem->module, iomem_ptx, 0, NULL, NULL), "the kernel");
	must(iomem, api->module_function(&iomem->function, iomem->module, "iomem_poll"),
	     "the kernel");
	must(iomem, api->stream_create(&iomem->stream, CUDA_STREAM_NON_BLOCKING), "a stream");
	must(iomem, api->memory_alloc(&iomem->words, PAGES * sizeof(uint64_t)), "GPU memory");
}

static void register_answers(struct iomem *iomem)
{
	void *answers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (answers == MAP_FAILED)
		err(1, "a page");
	memset(answers, 0, PAGE);
	must(iomem, iomem->api.memory_register(answers, PAGE, CUDA_REGISTER_DEVICEMAP),
	     "registering ordinary memory");
	must(iomem, iomem->api.memory_device_pointer(&iomem->device_answers, answers, 0),
	     "the GPU's address of registered memory");
	iomem->answers = answers;
}

static void register_pages(struct iomem *iomem)
{
	struct cuda_api *api = &iomem->api;
	uint64_t words[PAGES], begin = clock_ns(CLOCK_MONOTONIC);

	// What the flag is needed for.
	unsigned int plain = api->memory_register(
		iomem->pages[0].mapped, PAGE, CUDA_REGISTER_DEVICEMAP | CUDA_REGISTER_READ_ONLY);

	printf("refused_without_iomemory %d calls\n", plain != CUDA_OK);
	if (!plain)
		must(iomem, api->memory_unregister(iomem->pages[0].mapped), "unregistering");
	for (size_t i = 0; i < PAGES; i++) {
		struct page *page = &iomem->pages[i];
		cuda_address address;

		must(iomem,
		     api->memory_register(page->mapped, PAGE,
					  CUDA_REGISTER_DEVICEMAP | CUDA_REGISTER_READ_ONLY |
						  CUDA_REGISTER_IOMEMORY),
		     "registering page frames with IOMEMORY and READ_ONLY");
		must(iomem, api->memory_device_pointer(&address, page->mapped, 0),
		     "the GPU's address of registered page frames");
		words[i] = address + page->word;
	}
	printf("register_us %.6g us\n", (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e3 / PAGES);
	must(iomem, api->copy_to_device(iomem->words, words, sizeof(words), iomem->stream),
	     "copying");
	must(iomem, api->stream_wait(iomem->stream), "copying");
}

static void launch(struct iomem *iomem, uint64_t writes)
{
	uint64_t pages = PAGES, patience_ns = PATIENCE_S * UINT64_C(1000000000),
		 seen = iomem->device_answers, copy = iomem->device_answers + sizeof(uint64_t);
	void *parameters[] = { &iomem->words, &pages, &writes, &patience_ns, &seen, &copy };

	must(iomem,
	     iomem->api.launch(iomem->function, 1, 1, 1, 1, 1, 1, 0, iomem->stream, parameters,
			       NULL),
	     "launching");
}

// The kernel ends by itself if it waits for longer than it has patience.
static bool write_and_wait(struct iomem *iomem, uint64_t number)
{
	struct page *page = &iomem->pages[number % PAGES];
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * UINT64_C(1000000000);

	__atomic_store_n((uint64_t *)(page->writable + page->word), number, __ATOMIC_RELEASE);
	while (__atomic_load_n(iomem->answers, __ATOMIC_ACQUIRE) != number) {
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			return false;
	}
	return true;
}

static void give_up_mappings(struct iomem *iomem)
{
	for (size_t i = 0; i < PAGES; i++) {
		if (mprotect(iomem->pages[i].mapped, PAGE, PROT_NONE))
			err(1, "giving up a mapping");
	}
}

int main(int argc, char **argv)
{
	struct iomem iomem = {};
	uint64_t writes = WRITES, seen = 0, begin;
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt(argc, argv, "e:n:")) >= 0) {
		const char *text = optarg;

		if (option == 'e' && !strcmp(optarg, "cpu"))
			errx(77, "registration is the GPU driver's; the CPU has none");
		if ((option != 'e' || strcmp(optarg, "cuda") != 0) &&
		    (option != 'n' || !gs_parse_decimal(&text, &writes) || *text || writes < 2))
			optind = argc + 1;
	}
	if (optind != argc) {
		fprintf(stderr, "usage: iomem [-e cuda] [-n WRITES]\n");
		return 2;
	}
	for (size_t i = 0; i < PAGES; i++)
		map_page(&iomem.pages[i], i);
	open_gpu(&iomem);
	register_answers(&iomem);
	register_pages(&iomem);
	launch(&iomem, writes);
	begin = clock_ns(CLOCK_MONOTONIC);
	while (seen < writes && write_and_wait(&iomem, seen + 1)) {
		if (++seen == writes / 2)
			give_up_mappings(&iomem);
	}
	printf("writes %" PRIu64 " writes\n", writes);
	printf("seen %" PRIu64 " writes\n", seen);
	if (seen < writes)
		errx(1, "of %" PRIu64 " writes the GPU saw %" PRIu64, writes, seen);
	printf("round_trip_us %.6g us\n",
	       (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e3 / (double)writes);
	must(&iomem, iomem.api.stream_wait(iomem.stream), "the kernel");
	check_copy(&iomem);
	for (size_t i = 0; i < PAGES; i++)
		must(&iomem, iomem.api.memory_unregister(iomem.pages[i].mapped), "unregistering");
	// The context goes with the process.
	return 0;
}
