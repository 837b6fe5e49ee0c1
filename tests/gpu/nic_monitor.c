// SPDX-License-Identifier: Apache-2.0
#include "nic.h"

#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/request.h>

#include "engine/cuda_api.h"
#include "mailbox/client.h"
#include "tool.h"

enum {
	MONITOR = 2,
	// Bytes of memory that a request asks for, and room for an answer with them.
	READ_SIZE = 512,
	ANSWER_SIZE = 1024,
	PATIENCE_S = 5,
};

// Handles of one process, opened in another: CUDA driver API, section "Memory Management".
struct ipc_handle {
	char bytes[64];
};

static struct cuda_api api;
static struct CUstream_st *stream;
// What the copy engines read and write here.
static struct room {
	uint8_t requests[GS_REQUEST_DEPTH][GS_REQUEST_SIZE];
	uint64_t flags[GS_REQUEST_DEPTH];
	uint64_t answers[GS_REQUEST_DEPTH][ANSWER_SIZE / 8];
	uint8_t other[65536];
} *room;
static cuda_address mailbox;
// With the cpu engine, the mailbox itself.
static uint8_t *memory;

static void must(unsigned int result, const char *what)
{
	die_of(cuda_error(&api, result, "%s", what), 1);
}

static void *symbol(const char *name)
{
	void *found = dlsym(api.library, name);

	if (!found)
		errx(1, "the driver has no %s", name);
	return found;
}

static void enter(int ordinal)
{
	struct CUctx_st *context;
	int device;

	die_of(cuda_api_open(&api), 1);
	must(api.init(0), "cuInit");
	must(api.device_get(&device, ordinal), "cuDeviceGet");
	must(api.context_retain(&context, device), "cuDevicePrimaryCtxRetain");
	must(api.context_push(context), "cuCtxPushCurrent");
}

void nic_share(struct nic_handover *handover)
{
	unsigned int (*get)(struct ipc_handle *ret, cuda_address address);
	struct ipc_handle handle;

	enter(0);
	*(void **)&get = symbol("cuIpcGetMemHandle");
	must(get(&handle, handover->export.gpu_address), "cuIpcGetMemHandle");
	memcpy(handover->handle, &handle, sizeof(handle));
	handover->pid = getpid();
}

static void open_gpu(const struct nic_handover *handover, int device)
{
	unsigned int (*open_handle)(cuda_address *ret, struct ipc_handle handle,
				    unsigned int flags);
	struct ipc_handle handle;

	enter(device);
	*(void **)&open_handle = symbol("cuIpcOpenMemHandle_v2");
	memcpy(&handle, handover->handle, sizeof(handle));
	// CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS
	must(open_handle(&mailbox, handle, 1), "cuIpcOpenMemHandle");
	must(api.stream_create(&stream, CUDA_STREAM_NON_BLOCKING), "cuStreamCreate");
	must(api.memory_register(room, sizeof(*room), CUDA_REGISTER_DEVICEMAP),
	     "cuMemHostRegister");
}

static void open_memory(const struct nic_handover *handover, pid_t watcher)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", watcher, handover->export.fd);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	memory = mmap(NULL, handover->export.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		err(1, "%s", path);
}

// Begun in order; ended by settle().
static void put(uint64_t offset, const void *from, size_t size)
{
	if (memory && size == 8)
		__atomic_store_n((uint64_t *)(memory + offset), *(const uint64_t *)from,
				 __ATOMIC_RELEASE);
	else if (memory)
		memcpy(memory + offset, from, size);
	else
		must(api.copy_to_device(mailbox + offset, from, size, stream), "a write");
}

static void get(uint64_t offset, void *to, size_t size)
{
	if (memory && size == 8)
		*(uint64_t *)to = __atomic_load_n((uint64_t *)(memory + offset), __ATOMIC_ACQUIRE);
	else if (memory)
		memcpy(to, memory + offset, size);
	else
		must(api.copy_from_device(to, mailbox + offset, size, stream), "a read");
}

static void settle(void)
{
	if (!memory)
		must(api.stream_wait(stream), "the copies");
}

static struct gs_error *read_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	(void)arg;
	while (size) {
		size_t part = size < sizeof(room->other) ? size : sizeof(room->other);

		get(offset, room->other, part);
		settle();
		memcpy(buf, room->other, part);
		buf = (uint8_t *)buf + part;
		offset += part;
		size -= part;
	}
	return NULL;
}

struct monitor {
	const struct gs_mailbox_header *header;
	struct mailbox_reader *reader;
	struct gs_target *target;
	const struct gs_segment *segments;
	size_t segment_count;
	uint64_t nonce;
	// What a RUN gave last; 0: none yet.
	uint64_t kick;
	// What has gone wrong, and how often an answer was not whole behind its flag.
	uint64_t wrong, reread, reads, runs;
};

static struct gs_monitor_state state_of(struct monitor *m)
{
	struct gs_monitor_state state = {};
	uint64_t share =
		gs_monitor_share(&m->header->results, m->header->monitor_count, GS_MAILBOX_SLOT);

	die_of(mailbox_read_sealed(m->reader, "state", m->header->results.offset + MONITOR * share,
				   &state, sizeof(state), &state.crc),
	       1);
	return state;
}

static uint64_t some_address(struct monitor *m)
{
	const struct gs_segment *segment = &m->segments[(size_t)rand() % m->segment_count];
	uint64_t units = segment->size / READ_SIZE;

	return segment->phys + ((uint64_t)rand() << 16 ^ (uint64_t)rand()) % units * READ_SIZE;
}

// Of eight, one reads memory and one runs a detector.
static void make(struct monitor *m, uint64_t sequence)
{
	uint8_t *at = room->requests[sequence % GS_REQUEST_DEPTH];
	struct gs_request *request = (struct gs_request *)at;
	uint32_t size = sizeof(*request);

	memset(at, 0, GS_REQUEST_SIZE);
	request->kind = GS_REQUEST_PING;
	if (sequence % 8 == 3) {
		struct gs_read_request *read = (struct gs_read_request *)at;

		request->kind = GS_REQUEST_READ;
		read->address = some_address(m);
		read->length = READ_SIZE;
		read->window = GS_READ_INLINE;
		read->space = GS_READ_PHYSICAL;
		size = sizeof(*read);
	} else if (sequence % 8 == 6) {
		request->kind = GS_REQUEST_RUN;
		size = sizeof(struct gs_run_request);
	}
	request->nonce = ++m->nonce;
	mailbox_seal_request(m->header, request, size, MONITOR, sequence);
}

static void check_read(struct monitor *m, const struct gs_read_request *request,
		       const struct gs_read_answer *answer)
{
	uint64_t at =
		answer->data - mailbox_answer_offset(m->header, MONITOR, request->request.sequence);
	uint8_t expected[READ_SIZE] = {};

	m->reads++;
	if (!mailbox_check_read(m->header, request, answer) || answer->length != READ_SIZE ||
	    at > ANSWER_SIZE - READ_SIZE) {
		m->wrong++;
		return;
	}
	// A page that is not there reads as zeros on both sides.
	gs_error_destroy(gs_target_read(m->target, request->address, expected, READ_SIZE));
	m->wrong += memcmp((const uint8_t *)answer + at, expected, READ_SIZE) != 0;
}

static void check(struct monitor *m, uint64_t sequence)
{
	uint64_t slot = sequence % GS_REQUEST_DEPTH;
	const struct gs_request *request = (const struct gs_request *)room->requests[slot];
	const struct gs_answer *answer = (const struct gs_answer *)room->answers[slot];
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	while (!mailbox_check_answer(m->header, answer, ANSWER_SIZE, MONITOR, sequence)) {
		m->reread++;
		if (clock_ns(CLOCK_MONOTONIC) - since > PATIENCE_S * UINT64_C(1000000000))
			errx(1, "the answer to request %" PRIu64 " stays damaged", sequence);
		get(mailbox_answer_offset(m->header, MONITOR, sequence), room->answers[slot],
		    ANSWER_SIZE);
		settle();
	}
	if (answer->status || answer->nonce != request->nonce || answer->kind != request->kind) {
		if (!m->wrong++)
			warnx("request %" PRIu64 " of kind %u: an answer of kind %u, status %u, "
			      "nonce %s",
			      sequence, request->kind, answer->kind, answer->status,
			      answer->nonce == request->nonce ? "right" : "wrong");
		return;
	}
	if (answer->kind == GS_REQUEST_READ) {
		check_read(m, (const struct gs_read_request *)request,
			   (const struct gs_read_answer *)answer);
	} else if (answer->kind == GS_REQUEST_RUN) {
		uint64_t kick = ((const struct gs_run_answer *)answer)->kick;

		// Each run that was asked for counts once.
		m->runs++;
		m->wrong += m->kick && kick != m->kick + 1;
		m->kick = kick;
	}
}

// Eight requests under way at a time.
static void batch(struct monitor *m, uint64_t first)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	for (uint64_t n = first; n < first + GS_REQUEST_DEPTH; n++) {
		uint8_t *request = room->requests[n % GS_REQUEST_DEPTH];
		uint64_t offset = mailbox_request_offset(m->header, MONITOR, n);

		make(m, n);
		put(offset + 8, request + 8, ((struct gs_request *)request)->size - 8);
		put(offset, request, 8);
	}
	// Answers come in order: the last flag stands for all.
	do {
		get(mailbox_answer_offset(m->header, MONITOR, first + GS_REQUEST_DEPTH - 1),
		    &room->flags[0], 8);
		settle();
		if (clock_ns(CLOCK_MONOTONIC) - since > PATIENCE_S * UINT64_C(1000000000))
			errx(1, "requests from %" PRIu64 " on have no answer after %d s: %" PRIu64,
			     first, PATIENCE_S, room->flags[0]);
	} while (room->flags[0] != first + GS_REQUEST_DEPTH - 1);
	for (uint64_t n = first; n < first + GS_REQUEST_DEPTH; n++)
		get(mailbox_answer_offset(m->header, MONITOR, n),
		    room->answers[n % GS_REQUEST_DEPTH], ANSWER_SIZE);
	settle();
	for (uint64_t n = first; n < first + GS_REQUEST_DEPTH; n++)
		check(m, n);
}

int nic_monitor(const char *core, int from, int device, uint64_t requests, uint64_t seconds_max,
		pid_t watcher)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct nic_handover handover;
	struct monitor m = {};

	die_of(gs_target_open(core, &options, &m.target), 1);
	m.segments = gs_target_segments(m.target, &m.segment_count);
	room = mmap(NULL, sizeof(*room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	if (room == MAP_FAILED || !m.segment_count)
		errx(1, "no memory");
	// The watching process says itself what is wrong.
	if (read(from, &handover, sizeof(handover)) != sizeof(handover))
		return 1;
	if (handover.export.memory) {
		open_memory(&handover, watcher);
	} else {
		open_gpu(&handover, device);
		if (kill(watcher, SIGSTOP))
			err(1, "SIGSTOP");
	}
	die_of(mailbox_reader_create(read_mailbox, NULL, &m.reader), 1);
	m.header = mailbox_reader_header(m.reader);
	if (getrandom(&m.nonce, sizeof(m.nonce), 0) != sizeof(m.nonce))
		err(1, "getrandom");
	srand((unsigned int)m.nonce);

	struct gs_monitor_state before = state_of(&m);
	uint64_t count = requests / GS_REQUEST_DEPTH * GS_REQUEST_DEPTH,
		 begin = clock_ns(CLOCK_MONOTONIC);

	for (uint64_t n = 0; n < count; n += GS_REQUEST_DEPTH) {
		batch(&m, before.last + 1 + n);
		if (clock_ns(CLOCK_MONOTONIC) - begin > seconds_max * UINT64_C(1000000000))
			count = n + GS_REQUEST_DEPTH;
	}

	double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e9;
	struct gs_monitor_state after = state_of(&m);
	bool exact = after.last - before.last == count &&
		     after.answered - before.answered == count && after.refused == before.refused &&
		     after.ignored == before.ignored;

	printf("requests %" PRIu64 " requests\nanswered %" PRIu64 " requests\nrefused %" PRIu64
	       " requests\nignored %" PRIu64 " words\nwrong %" PRIu64 " answers\nreread %" PRIu64
	       " answers\nreads %" PRIu64 " answers\nruns %" PRIu64 " answers\ntime %.3f s\n",
	       count, after.answered - before.answered, after.refused - before.refused,
	       after.ignored - before.ignored, m.wrong, m.reread, m.reads, m.runs, seconds);
	fflush(stdout);
	mailbox_reader_destroy(m.reader);
	gs_target_close(m.target);
	return exact && !m.wrong && m.reads && m.runs ? 0 : 1;
}
