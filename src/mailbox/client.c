// SPDX-License-Identifier: Apache-2.0
#include "mailbox/client.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "mailbox/layout.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)

enum {
	// Requests to read under way at a time: each has its part of the window.
	CHUNKS = 4,
	// A page whose check stays wrong this often is damaged.
	TRIES = 10,
	// Bytes of zeros between others that are fetched with them.
	GAP = 8 * GS_READ_PAGE,
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

// The answer as it is now, in client->answer, of which @size bytes are expected. True: it is whole. Its words may be of
// different moments, the number older or newer than what follows: the CRC tells, and it is read again.
static struct gs_error *look(struct mailbox_client *client, const struct gs_request *request,
			     uint32_t size, bool *whole_ret)
{
	struct gs_answer *answer = (struct gs_answer *)client->answer;
	uint64_t offset = mailbox_answer_offset(client->header, client->monitor, request->sequence);
	struct gs_error *err = mailbox_read(client->reader, offset, answer, size);
	uint32_t says = answer->size;

	if (!err && answer->sequence == request->sequence && says > size &&
	    says <= client->answer_size) {
		size = says;
		err = mailbox_read(client->reader, offset, answer, size);
	}
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

// Bytes of the answer to a request to read.
static uint32_t read_answer_size(const struct mailbox_client *client,
				 const struct gs_read_request *request)
{
	uint64_t pages = (request->address % GS_READ_PAGE + request->length + GS_READ_PAGE - 1) /
			 GS_READ_PAGE;

	return (uint32_t)min(client->answer_size,
			     sizeof(struct gs_read_answer) + pages * sizeof(struct gs_read_page));
}

// Bytes of a page of an answer, of which @at are behind it.
static uint64_t page_size(const struct gs_read_answer *answer, uint64_t at)
{
	uint64_t size = GS_READ_PAGE - (answer->address + at) % GS_READ_PAGE;

	return size < answer->length - at ? size : answer->length - at;
}

// The data of an answer, as it is now. Pages of zeros stay where they are; short stretches of them are no reason for another
// read.
static struct gs_error *fetch_data(struct mailbox_client *client,
				   const struct gs_read_answer *answer, uint8_t *data)
{
	uint64_t begin = 0, end = 0, at = 0;
	struct gs_error *err = NULL;

	for (uint32_t i = 0; i < answer->page_count && !err; i++) {
		uint64_t size = page_size(answer, at);
		uint32_t flags = answer->pages[i].flags;
		bool zero = !(flags & GS_PAGE_VALID) || flags & GS_PAGE_ZERO;

		if (!zero && end > begin && at - end > GAP) {
			err = mailbox_read(client->reader, answer->data + begin, data + begin,
					   end - begin);
			begin = end = at;
		}
		if (!zero && end == begin)
			begin = at;
		if (!zero)
			end = at + size;
		at += size;
	}
	if (!err && end > begin)
		err = mailbox_read(client->reader, answer->data + begin, data + begin, end - begin);
	return err;
}

// The data of an answer, page by page, each until its check is right.
static struct gs_error *take_data(struct mailbox_client *client, uint64_t skip, uint64_t wanted,
				  mailbox_page_fn *fn, void *arg)
{
	const struct gs_read_answer *answer = (const struct gs_read_answer *)client->answer;
	_cleanup_free_ uint8_t *data = calloc(1, answer->length);
	struct gs_error *err = data ? fetch_data(client, answer, data) : &gs_enomem;
	uint64_t at = 0;

	for (uint32_t i = 0; i < answer->page_count && !err; i++) {
		const struct gs_read_page *page = &answer->pages[i];
		uint64_t size = page_size(answer, at);
		bool ok = !(page->flags & GS_PAGE_VALID) || page->flags & GS_PAGE_ZERO;

		for (int tries = 0; !ok && tries < TRIES && !err; tries++) {
			if (tries)
				err = mailbox_read(client->reader, answer->data + at, data + at,
						   size);
			ok = !err && mailbox_read_check(data + at, size) == page->check;
		}
		if (!err && !ok)
			err = gs_error_create(GS_ERROR_OTHER,
					      "what was read at 0x%" PRIx64 " arrived damaged",
					      answer->address + at);

		// Without what the range was widened by.
		uint64_t begin = at < skip ? skip : at;
		uint64_t end = at + size < skip + wanted ? at + size : skip + wanted;

		if (!err && begin < end)
			err = fn(arg, answer->address + begin, data + begin, end - begin,
				 page->flags);
		at += size;
	}
	return err;
}

struct gs_error *mailbox_client_read(struct mailbox_client *client, enum gs_read_space space,
				     uint32_t flags, uint64_t address, uint64_t length,
				     mailbox_page_fn *fn, void *arg)
{
	uint64_t part = mailbox_window_size(client->header) / CHUNKS / GS_READ_PAGE * GS_READ_PAGE;
	struct gs_read_request under_way[CHUNKS];
	uint64_t sent = 0, received = 0;
	unsigned int first = 0, count = 0;

	if (part < GS_READ_PAGE)
		return gs_error_create(GS_ERROR_OTHER, "the mailbox has no windows");
	if (address + length < address)
		return gs_error_create(GS_ERROR_USAGE, "the range ends behind the last address");
	while (received < length) {
		while (count < CHUNKS && sent < length) {
			unsigned int i = (first + count) % CHUNKS;
			uint64_t at = address + sent;
			uint64_t size = min(length - sent, part - at % GS_READ_PAGE);

			under_way[i] = (struct gs_read_request){
				.request.kind = GS_REQUEST_READ,
				.address = at,
				.length = size,
				.window = i * part,
				.space = space,
				.flags = flags,
			};

			struct gs_error *err =
				send(client, &under_way[i].request, sizeof(under_way[i]));

			if (err)
				return err;
			sent += size;
			count++;
		}

		const struct gs_read_request *request = &under_way[first];
		struct gs_error *err =
			receive(client, &request->request, read_answer_size(client, request));
		const struct gs_read_answer *answer = (const struct gs_read_answer *)client->answer;
		uint64_t skip = request->address % GS_READ_UNIT;

		// A window's part is the room that it was sent for: less is not to be.
		if (!err && (!mailbox_check_read(client->header, request, answer) ||
			     answer->length < skip + request->length))
			err = gs_error_create(GS_ERROR_OTHER,
					      "the answer to request %" PRIu64 " cannot be",
					      request->request.sequence);
		if (!err)
			err = take_data(client, skip, request->length, fn, arg);
		if (err)
			return err;
		received += request->length;
		first = (first + 1) % CHUNKS;
		count--;
	}
	return NULL;
}
