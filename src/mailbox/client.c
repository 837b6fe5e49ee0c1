// SPDX-License-Identifier: Apache-2.0
#include "mailbox/client.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "mailbox/layout.h"
#include "util/array.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)

enum {
	// Requests to read under way at a time: each has its part of the window.
	CHUNKS = 3,
	// A page whose check stays wrong this often is damaged.
	TRIES = 10,
	// Bytes of zeros between others that are fetched with them.
	GAP = 2 * GS_READ_PAGE,
};

struct mailbox_client {
	struct mailbox_reader *reader;
	const struct gs_mailbox_header *header;
	mailbox_write_fn *write;
	void *arg;
	uint32_t monitor;
	uint64_t timeout_ns;
	// Number of the next request.
	uint64_t next;
	// Room for an answer.
	uint64_t *answer;
	size_t answer_size;
};

// An answer takes microseconds as a rule; whoever waits for longer does not hold a CPU.
static void pause_for(uint64_t since)
{
	uint64_t waited = clock_ns(CLOCK_MONOTONIC) - since;

	if (waited > 200000)
		nanosleep(&(struct timespec){ .tv_nsec = waited < SECOND / 10 ? 20000 : 500000 },
			  NULL);
}

static struct gs_error *read_state(struct mailbox_client *client, struct gs_monitor_state *ret)
{
	const struct gs_mailbox_header *header = client->header;
	uint64_t share = gs_monitor_share(&header->results, header->monitor_count, GS_MAILBOX_SLOT);

	return mailbox_read_sealed(client->reader, "state of a monitor",
				   header->results.offset + client->monitor * share, ret,
				   sizeof(*ret), &ret->crc);
}

// Numbers go on behind those of who spoke as this monitor before, and what it left under way comes first.
struct gs_error *mailbox_client_synchronise(struct mailbox_client *client)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	for (;;) {
		struct gs_monitor_state state;
		uint64_t first;
		struct gs_error *err = read_state(client, &state);

		if (err)
			return err;
		client->next = state.last + 1;
		err = mailbox_read(
			client->reader,
			mailbox_request_offset(client->header, client->monitor, client->next),
			&first, sizeof(first));
		if (err || first != client->next)
			return err;
		if (clock_ns(CLOCK_MONOTONIC) - since > client->timeout_ns)
			return gs_error_create(GS_ERROR_OTHER,
					       "the supervisor does not answer: request %" PRIu64
					       " of monitor %u waits",
					       first, client->monitor);
		pause_for(since);
	}
}

struct gs_error *mailbox_client_create(struct mailbox_reader *reader, mailbox_write_fn *write,
				       void *arg, uint32_t monitor, struct mailbox_client **ret)
{
	const struct gs_mailbox_header *header = mailbox_reader_header(reader);

	if (monitor >= header->monitor_count)
		return gs_error_create(GS_ERROR_OTHER, "the mailbox serves %u monitors",
				       header->monitor_count);

	struct mailbox_client *client = calloc(1, sizeof(*client));

	if (!client)
		return &gs_enomem;
	*client = (struct mailbox_client){
		.reader = reader,
		.header = header,
		.write = write,
		.arg = arg,
		.monitor = monitor,
		.timeout_ns = 5 * SECOND,
		.answer_size = gs_answer_stride(
			gs_monitor_share(&header->results, header->monitor_count, GS_MAILBOX_SLOT)),
	};
	client->answer = malloc(client->answer_size);

	struct gs_error *err = client->answer ? mailbox_client_synchronise(client) : &gs_enomem;

	if (err) {
		mailbox_client_destroy(client);
		return err;
	}
	*ret = client;
	return NULL;
}

void mailbox_client_destroy(struct mailbox_client *client)
{
	if (client)
		free(client->answer);
	free(client);
}

void mailbox_client_set_timeout(struct mailbox_client *client, uint64_t ns)
{
	client->timeout_ns = ns;
}

static struct gs_error *send(struct mailbox_client *client, struct gs_request *request,
			     uint32_t size)
{
	uint64_t offset = mailbox_request_offset(client->header, client->monitor, client->next);

	// Nobody can have made an answer to this one before.
	if (getrandom(&request->nonce, sizeof(request->nonce), 0) != sizeof(request->nonce))
		return gs_error_errno(GS_ERROR_OTHER, errno, "no random number");
	mailbox_seal_request(client->header, request, size, client->monitor, client->next);

	struct gs_error *err =
		client->write(client->arg, offset + 8, (const char *)request + 8, size - 8);

	if (!err)
		err = client->write(client->arg, offset, request, 8);
	if (!err)
		client->next++;
	return err;
}

static const char *status_text(uint32_t status)
{
	static const char *const texts[] = {
		[GS_STATUS_DAMAGED] = "it arrived damaged",
		[GS_STATUS_FOREIGN] = "it is another monitor's",
		[GS_STATUS_UNKNOWN] = "this supervisor does not know its kind",
		[GS_STATUS_INVALID] = "what it says cannot be",
		[GS_STATUS_ABSENT] = "there is no such detector",
	};

	return status < sizeof(texts) / sizeof(texts[0]) && texts[status] ? texts[status]
									  : "unknown reason";
}

// The answer as it is now, in client->answer, of which @size bytes are expected. True: it is whole. Its number is read first
// and by itself, as it is written last; both reads are under way at a time, so that a look is one way there and back.
static struct gs_error *look(struct mailbox_client *client, const struct gs_request *request,
			     uint32_t size, bool *whole_ret)
{
	struct gs_answer *answer = (struct gs_answer *)client->answer;
	uint64_t offset = mailbox_answer_offset(client->header, client->monitor, request->sequence);
	uint64_t number = 0;
	struct gs_error *err = mailbox_start(client->reader, offset, &number, sizeof(number));

	if (!err)
		err = mailbox_read(client->reader, offset, answer, size);
	*whole_ret = false;
	if (err || number != request->sequence)
		return err;
	if (answer->size > size && answer->size <= client->answer_size) {
		size = answer->size;
		err = mailbox_read(client->reader, offset, answer, size);
	}
	// Where reads overtake each other after all, the CRC tells, and it is read again.
	*whole_ret = !err && mailbox_check_answer(client->header, answer, size, client->monitor,
						  request->sequence);
	return err;
}

// The answer, in client->answer, of which @size bytes are expected.
static struct gs_error *receive(struct mailbox_client *client, const struct gs_request *request,
				uint32_t size)
{
	const struct gs_answer *answer = (const struct gs_answer *)client->answer;
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	for (;;) {
		bool whole;
		struct gs_error *err = look(client, request, size, &whole);

		if (err)
			return err;
		if (whole)
			break;
		if (clock_ns(CLOCK_MONOTONIC) - since > client->timeout_ns)
			return gs_error_create(
				GS_ERROR_OTHER,
				answer->sequence == request->sequence
					? "the answer to request %" PRIu64 " is damaged"
					: "the supervisor does not answer request %" PRIu64,
				request->sequence);
		pause_for(since);
	}
	if (answer->status)
		return gs_error_create(GS_ERROR_OTHER,
				       "the supervisor refuses request %" PRIu64 ": %s",
				       request->sequence, status_text(answer->status));
	if (answer->nonce != request->nonce || answer->kind != request->kind)
		return gs_error_create(GS_ERROR_OTHER,
				       "somebody else speaks as monitor %u of this mailbox",
				       client->monitor);
	return NULL;
}

static struct gs_error *ask(struct mailbox_client *client, struct gs_request *request,
			    uint32_t size, void *ret, uint32_t answer_size)
{
	struct gs_error *err = send(client, request, size);

	if (!err)
		err = receive(client, request, answer_size);
	if (err)
		return err;
	if (((struct gs_answer *)client->answer)->size != answer_size)
		return gs_error_create(GS_ERROR_OTHER,
				       "the answer to request %" PRIu64 " has a wrong size",
				       request->sequence);
	memcpy(ret, client->answer, answer_size);
	return NULL;
}

struct gs_error *mailbox_client_ping(struct mailbox_client *client, struct gs_ping_answer *ret)
{
	struct gs_request request = { .kind = GS_REQUEST_PING };

	return ask(client, &request, sizeof(request), ret, sizeof(*ret));
}

struct gs_error *mailbox_client_run(struct mailbox_client *client, uint32_t detector,
				    uint32_t generation, uint64_t *kick_ret)
{
	struct gs_run_request request = {
		.request.kind = GS_REQUEST_RUN,
		.detector = detector,
		.generation = generation,
	};
	struct gs_run_answer answer;
	struct gs_error *err =
		ask(client, &request.request, sizeof(request), &answer, sizeof(answer));

	if (!err)
		*kick_ret = answer.kick;
	return err;
}

struct gs_error *mailbox_client_param(struct mailbox_client *client, uint32_t detector,
				      uint32_t generation, uint32_t param, bool set, uint64_t value,
				      uint64_t *before_ret, uint64_t *value_ret)
{
	struct gs_param_request request = {
		.request.kind = GS_REQUEST_PARAM,
		.detector = detector,
		.generation = generation,
		.param = param,
		.flags = set ? GS_PARAM_F_SET : 0,
		.value = value,
	};
	struct gs_param_answer answer;
	struct gs_error *err =
		ask(client, &request.request, sizeof(request), &answer, sizeof(answer));

	if (!err) {
		*before_ret = answer.before;
		*value_ret = answer.value;
	}
	return err;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t mailbox_pages(uint64_t address, size_t size)
{
	return (address % GS_READ_PAGE + size + GS_READ_PAGE - 1) / GS_READ_PAGE;
}

// Bytes of the answer to a request to read.
static uint32_t read_answer_size(const struct mailbox_client *client,
				 const struct gs_read_request *request)
{
	uint64_t pages = mailbox_pages(request->address, request->length);

	return (uint32_t)min(client->answer_size,
			     sizeof(struct gs_read_answer) + pages * sizeof(struct gs_read_page));
}

// It is not zeros, which need not be read.
static bool has_data(uint32_t flags)
{
	return flags & GS_PAGE_VALID && !(flags & GS_PAGE_ZERO);
}

// Bytes of a page of an answer, of which @at are behind it.
static uint64_t page_size(const struct gs_read_answer *answer, uint64_t at)
{
	uint64_t size = GS_READ_PAGE - (answer->address + at) % GS_READ_PAGE;

	return size < answer->length - at ? size : answer->length - at;
}

// A request to read, its answer, and the data, which are under way or here.
struct fetched {
	struct gs_read_request request;
	uint64_t *answer;
	uint8_t *data;
};

// A range that is being read: some requests wait for their answer, the data of one answer is on the way, and those before are
// taken meanwhile.
struct reading {
	struct mailbox_client *client;
	enum gs_read_space space;
	uint32_t flags;
	// What has not been asked for.
	uint64_t address, left;
	// Bytes of a request's part of the window. Request N has part N % CHUNKS, until its data have been taken.
	uint64_t part;
	uint64_t sent, answered, taken;
	struct gs_read_request requests[CHUNKS];
	struct fetched fetched[2];
	mailbox_memory_fn *fn;
	void *arg;
};

static void reading_deinit(struct reading *reading)
{
	for (size_t i = 0; i < ARRAY_SIZE(reading->fetched); i++)
		free(reading->fetched[i].answer);
}

static struct gs_error *reading_init(struct reading *reading)
{
	struct mailbox_client *client = reading->client;
	// Begin and end are widened to whole units.
	uint64_t wanted = min(reading->left, reading->part) + 2 * GS_READ_UNIT;
	uint64_t size = min(reading->part, mailbox_pages(0, wanted) * GS_READ_PAGE);
	size_t count = reading->left + reading->address % GS_READ_PAGE > reading->part ? 2 : 1;
	void *data;
	struct gs_error *err = mailbox_buffer(client->reader, count * size, &data);

	for (size_t i = 0; i < count && !err; i++) {
		reading->fetched[i].answer = malloc(client->answer_size);
		reading->fetched[i].data = (uint8_t *)data + i * size;
		if (!reading->fetched[i].answer)
			err = &gs_enomem;
	}
	return err;
}

// As many requests as there is room for.
static struct gs_error *send_requests(struct reading *reading)
{
	struct gs_error *err = NULL;

	while (!err && reading->left && reading->sent - reading->taken < CHUNKS) {
		uint64_t i = reading->sent % CHUNKS;
		struct gs_read_request *request = &reading->requests[i];

		*request = (struct gs_read_request){
			.request.kind = GS_REQUEST_READ,
			.address = reading->address,
			.length =
				min(reading->left, reading->part - reading->address % GS_READ_PAGE),
			.window = i * reading->part,
			.space = reading->space,
			.flags = reading->flags,
		};
		err = send(reading->client, &request->request, sizeof(*request));
		reading->address += request->length;
		reading->left -= request->length;
		reading->sent++;
	}
	return err;
}

// Begin to read the data of an answer, as they are now. Pages of zeros stay where they are; short stretches of them are no
// reason for another read.
static struct gs_error *start_data(struct mailbox_client *client,
				   const struct gs_read_answer *answer, uint8_t *data)
{
	uint64_t begin = 0, end = 0, at = 0;
	struct gs_error *err = NULL;

	for (uint32_t i = 0; i < answer->page_count && !err; i++) {
		uint64_t size = page_size(answer, at);

		if (has_data(answer->pages[i].flags)) {
			if (end > begin && at - end > GAP) {
				err = mailbox_start(client->reader, answer->data + begin,
						    data + begin, end - begin);
				end = begin;
			}
			if (end == begin)
				begin = at;
			end = at + size;
		}
		at += size;
	}
	if (!err && end > begin)
		err = mailbox_start(client->reader, answer->data + begin, data + begin,
				    end - begin);
	return err;
}

// Wait for the next answer, behind which the data of the one before have come, and begin to read its data.
static struct gs_error *fetch_next(struct reading *reading)
{
	struct mailbox_client *client = reading->client;
	struct fetched *fetched = &reading->fetched[reading->answered % 2];
	const struct gs_read_request *request = &reading->requests[reading->answered % CHUNKS];
	struct gs_error *err =
		receive(client, &request->request, read_answer_size(client, request));
	const struct gs_read_answer *answer = (const struct gs_read_answer *)client->answer;

	if (err)
		return err;
	// A window's part is the room that it was sent for: less is not to be.
	if (!mailbox_check_read(client->header, request, answer) ||
	    answer->length < request->address % GS_READ_UNIT + request->length)
		return gs_error_create(GS_ERROR_OTHER,
				       "the answer to request %" PRIu64 " cannot be",
				       request->request.sequence);
	client->answer = fetched->answer;
	fetched->answer = (uint64_t *)answer;
	fetched->request = *request;
	reading->answered++;
	return start_data(client, answer, fetched->data);
}

// Read a page again until its check is right.
static struct gs_error *check_page(struct mailbox_client *client,
				   const struct gs_read_answer *answer, uint32_t index,
				   uint8_t *data, uint64_t at, uint64_t size)
{
	for (int tries = 0; tries < TRIES; tries++) {
		struct gs_error *err = NULL;

		if (tries)
			err = mailbox_read(client->reader, answer->data + at, data + at, size);
		if (err || mailbox_read_check(data + at, size) == answer->pages[index].check)
			return err;
	}
	return gs_error_create(GS_ERROR_OTHER, "what was read at 0x%" PRIx64 " arrived damaged",
			       answer->address + at);
}

// Hand over bytes [@begin, @end) of an answer, but not what the range was widened by.
static struct gs_error *hand_over(struct reading *reading, const struct fetched *fetched,
				  uint64_t begin, uint64_t end, uint32_t flags)
{
	static const uint8_t zeros[GS_READ_PAGE];
	const struct gs_read_answer *answer = (const struct gs_read_answer *)fetched->answer;
	uint64_t first = fetched->request.address % GS_READ_UNIT;
	uint64_t last = first + fetched->request.length;

	begin = begin < first ? first : begin;
	end = min(end, last);
	if (begin >= end)
		return NULL;
	return reading->fn(reading->arg, answer->address + begin,
			   has_data(flags) ? fetched->data + begin : zeros, end - begin, flags);
}

// The data of the first answer whose data have come: pages of the same flags together, except where there are no data.
static struct gs_error *take_next(struct reading *reading)
{
	const struct fetched *fetched = &reading->fetched[reading->taken % 2];
	const struct gs_read_answer *answer = (const struct gs_read_answer *)fetched->answer;
	uint64_t begin = 0, at = 0;
	struct gs_error *err = NULL;

	for (uint32_t i = 0; i < answer->page_count && !err; i++) {
		const struct gs_read_page *page = &answer->pages[i];
		uint64_t end = at + page_size(answer, at);
		bool here = has_data(page->flags);

		if (here)
			err = check_page(reading->client, answer, i, fetched->data, at, end - at);
		if (!err &&
		    (!here || i + 1 == answer->page_count || page[1].flags != page->flags)) {
			err = hand_over(reading, fetched, begin, end, page->flags);
			begin = end;
		}
		at = end;
	}
	reading->taken++;
	return err;
}

static struct gs_error *read_all(struct reading *reading)
{
	struct gs_error *err = send_requests(reading);

	while (!err && reading->taken < reading->sent) {
		bool more = reading->answered < reading->sent;

		err = more ? fetch_next(reading) : mailbox_finish(reading->client->reader);
		if (!err && (!more || reading->answered - reading->taken == 2))
			err = take_next(reading);
		if (!err)
			err = send_requests(reading);
	}
	return err;
}

struct gs_error *mailbox_client_read(struct mailbox_client *client, enum gs_read_space space,
				     uint32_t flags, uint64_t address, uint64_t length,
				     mailbox_memory_fn *fn, void *arg)
{
	struct reading reading = {
		.client = client,
		.space = space,
		.flags = flags,
		.address = address,
		.left = length,
		.part = mailbox_window_size(client->header) / CHUNKS / GS_READ_PAGE * GS_READ_PAGE,
		.fn = fn,
		.arg = arg,
	};

	if (reading.part < GS_READ_PAGE)
		return gs_error_create(GS_ERROR_OTHER, "the mailbox has no windows");
	if (address + length < address)
		return gs_error_create(GS_ERROR_USAGE, "the range ends behind the last address");

	struct gs_error *err = reading_init(&reading);

	if (!err)
		err = read_all(&reading);
	// What is still under way would go where no memory is any more.
	if (err)
		gs_error_destroy(mailbox_finish(client->reader));
	reading_deinit(&reading);
	return err;
}
