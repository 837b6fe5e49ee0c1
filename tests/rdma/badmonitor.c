// SPDX-License-Identifier: Apache-2.0
/*
 * A monitor with a proper certificate that does what it should not, to a host that gpusentinel serve watches:
 *	badmonitor garbage NAME ADDRESS KEYS AS		noise, and requests that lie, in its own slot
 *	badmonitor outside ...				writes anywhere else
 *	badmonitor dies ...				killed with a request half written, and with one under way
 *	badmonitor replay ...				requests a second time, and another monitor's
 *	badmonitor recording ...			a monitor that is shown a mailbox of the past
 * Each ends with that monitor well-behaved again, and answered. Prints a line for each thing that is so; exit status 1 at the
 * first one that is not.
 */
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "badmonitor.h"
#include "util/array.h"
#include "util/clock.h"

static const char *host_name, *address, *keys, *as;

void bad_must(struct gs_error *error)
{
	if (error)
		errx(1, "%s", error->message);
}

void bad_must_fail(struct gs_error *error, const char *words)
{
	if (!error)
		errx(1, "nothing failed where \"%s\" was to be said", words);
	if (!strstr(error->message, words))
		errx(1, "not \"%s\", but: %s", words, error->message);
	gs_error_destroy(error);
}

struct monitor bad_enter(const struct fabric_link_ops *fabric)
{
	char ca[256], certificate[256], key[256];
	struct grass_host host = {
		.size = sizeof(host),
		.name = host_name,
		.address = address,
		.identity = { .ca = ca, .certificate = certificate, .key = key },
		.fabric = fabric,
		.timeout_ns = 20 * SECOND,
	};
	struct monitor monitor = {};

	snprintf(ca, sizeof(ca), "%s/ca.crt", keys);
	snprintf(certificate, sizeof(certificate), "%s/%s.crt", keys, as);
	snprintf(key, sizeof(key), "%s/%s.key", keys, as);
	bad_must(grass_connect(&host, &monitor.session));
	monitor.reader = grass_session_reader(monitor.session);
	monitor.client = grass_session_client(monitor.session);
	monitor.header = mailbox_reader_header(monitor.reader);
	monitor.fabric = grass_session_fabric(monitor.session, &monitor.link);
	monitor.index = grass_session_monitor(monitor.session);
	return monitor;
}

void bad_leave(struct monitor *monitor)
{
	grass_session_close(monitor->session, true);
}

void bad_is_heard(struct monitor *monitor)
{
	struct gs_ping_answer answer;

	bad_must(mailbox_client_synchronise(monitor->client));
	bad_must(mailbox_client_ping(monitor->client, &answer));
}

struct gs_monitor_state bad_state_of(struct monitor *monitor)
{
	const struct gs_mailbox_header *header = monitor->header;
	uint64_t share = gs_monitor_share(&header->results, header->monitor_count, GS_MAILBOX_SLOT);
	struct gs_monitor_state state = {};

	bad_must(mailbox_read_sealed(monitor->reader, "state",
				     header->results.offset + monitor->index * share, &state,
				     sizeof(state), &state.crc));
	return state;
}

static uint64_t slot_share(const struct monitor *monitor)
{
	return gs_monitor_share(&monitor->header->requests, monitor->header->monitor_count,
				GS_MAILBOX_SLOT);
}

static void put(struct monitor *monitor, uint64_t offset, const void *bytes, size_t size)
{
	bad_must(monitor->fabric->write(monitor->link, offset, bytes, size));
}

void bad_put_message(struct monitor *monitor, uint64_t place,
		     const union gs_request_message *message, size_t size)
{
	uint64_t offset = mailbox_request_offset(monitor->header, monitor->index, place);

	put(monitor, offset + 8, &message->words[1], size - 8);
	put(monitor, offset, &message->words[0], 8);
}

static void random_bytes(void *buf, size_t size)
{
	if (getrandom(buf, size, 0) != (ssize_t)size)
		err(1, "getrandom");
}

struct gs_answer bad_answer_to(struct monitor *monitor, uint64_t sequence)
{
	uint64_t offset = mailbox_answer_offset(monitor->header, monitor->index, sequence);
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), first = 0;
	struct gs_answer answer;

	while (first != sequence) {
		bad_must(mailbox_read(monitor->reader, offset, &first, sizeof(first)));
		if (clock_ns(CLOCK_MONOTONIC) - begin > 20 * SECOND)
			errx(1, "request %lu is not answered", (unsigned long)sequence);
		usleep(1000);
	}
	// The state comes behind the answer.
	while (bad_state_of(monitor).last < sequence)
		usleep(1000);
	bad_must(mailbox_read(monitor->reader, offset, &answer, sizeof(answer)));
	if (answer.monitor != monitor->index || answer.sequence != sequence)
		errx(1, "the answer to request %lu is another one's", (unsigned long)sequence);
	return answer;
}

void bad_must_be(const struct gs_answer *answer, uint32_t status, const char *what)
{
	if (answer->status != status)
		errx(1, "%s: status %u, and not %u", what, answer->status, status);
}

/*
 * Garbage.
 */

static void noise(struct monitor *monitor)
{
	uint64_t share = slot_share(monitor), begin = monitor->header->requests.offset;
	uint64_t before = bad_state_of(monitor).ignored;
	union gs_request_message message;
	uint8_t bytes[16384];

	if (share > sizeof(bytes))
		errx(1, "a slot of %lu bytes", (unsigned long)share);
	for (int i = 0; i < 100; i++) {
		random_bytes(bytes, share);
		put(monitor, begin + monitor->index * share, bytes, share);
		usleep(2000);
	}
	if (bad_state_of(monitor).ignored == before)
		errx(1, "nobody has noticed the noise");
	// With the number that is waited for in front.
	for (int i = 0; i < 10; i++) {
		uint64_t next = bad_state_of(monitor).last + 1;

		random_bytes(&message, sizeof(message));
		message.head.sequence = next;
		bad_put_message(monitor, next, &message, sizeof(message));

		struct gs_answer answer = bad_answer_to(monitor, next);

		bad_must_be(&answer, GS_STATUS_DAMAGED, "noise with a number");
	}
	puts("ok: noise");
}

// Requests with a right CRC, but for those that say otherwise.
static void lies(struct monitor *monitor)
{
	enum {
		PING = sizeof(struct gs_request),
		READ = sizeof(struct gs_read_request),
		PARAM = sizeof(struct gs_param_request),
	};
	static const struct {
		const char *what;
		union gs_request_message message;
		uint32_t size, status;
		// Written over what a right one would have.
		uint32_t lying_size, crc_mask, monitor_mask;
	} lies[] = {
		{ "no kind", { .head.kind = 0 }, PING, .status = GS_STATUS_UNKNOWN },
		{ "a kind of the future", { .head.kind = 5 }, PING, .status = GS_STATUS_UNKNOWN },
		{ "a kind of its own", { .head.kind = ~0U }, PING, .status = GS_STATUS_UNKNOWN },
		{ "wrong CRC",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_DAMAGED,
		  .crc_mask = 1 },
		{ "another's",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_FOREIGN,
		  .monitor_mask = 1 },
		{ "nobody's",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_FOREIGN,
		  .monitor_mask = ~0U },
		{ "size 8",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_DAMAGED,
		  .lying_size = 8 },
		{ "size 44",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_DAMAGED,
		  .lying_size = 44 },
		{ "size 520",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_DAMAGED,
		  .lying_size = 520 },
		{ "size 4 GiB",
		  { .head.kind = 1 },
		  PING,
		  .status = GS_STATUS_DAMAGED,
		  .lying_size = ~7U },
		{ "a long ping", { .head.kind = 1 }, GS_REQUEST_SIZE, .status = GS_STATUS_INVALID },
		{ "a short read", { .head.kind = 2 }, PING, .status = GS_STATUS_INVALID },
		{ "a read of nothing",
		  { .read.request.kind = 2 },
		  READ,
		  .status = GS_STATUS_INVALID },
		{ "a read into others' windows",
		  { .read = { { .kind = 2 }, .length = 4096, .window = UINT64_C(1) << 32 } },
		  READ,
		  .status = GS_STATUS_INVALID },
		{ "a read in front of its window",
		  { .read = { { .kind = 2 }, .length = 4096, .window = -UINT64_C(4096) } },
		  READ,
		  .status = GS_STATUS_INVALID },
		{ "a read of a third space",
		  { .read = { { .kind = 2 }, .length = 4096, .space = 2 } },
		  READ,
		  .status = GS_STATUS_INVALID },
		// Cut to what there is room for, of which nothing is there.
		{ "a read of everything behind the last address",
		  { .read = { { .kind = 2 }, .address = -UINT64_C(8192), .length = UINT64_MAX } },
		  READ,
		  .status = GS_STATUS_OK },
		{ "a run of no detector",
		  { .run = { { .kind = 3 }, .detector = GS_MAILBOX_DETECTORS } },
		  sizeof(struct gs_run_request),
		  .status = GS_STATUS_ABSENT },
		{ "a parameter of no detector",
		  { .param = { { .kind = 4 }, .detector = ~0U, .flags = GS_PARAM_F_SET } },
		  PARAM,
		  .status = GS_STATUS_ABSENT },
		{ "a parameter that no detector has",
		  { .param = { { .kind = 4 }, .generation = 1, .param = 1U << 30, .flags = 1 } },
		  PARAM,
		  .status = GS_STATUS_ABSENT },
	};
	struct gs_monitor_state before = bad_state_of(monitor), after;
	uint64_t wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint64_t next = bad_state_of(monitor).last + 1;
		union gs_request_message message = lies[i].message;

		message.head.nonce = MARK;
		mailbox_seal_request(monitor->header, &message.head, lies[i].size,
				     monitor->index ^ lies[i].monitor_mask, next);
		if (lies[i].lying_size)
			message.head.size = lies[i].lying_size;
		message.head.crc ^= lies[i].crc_mask;
		bad_put_message(monitor, next, &message, lies[i].size);

		struct gs_answer answer = bad_answer_to(monitor, next);

		bad_must_be(&answer, lies[i].status, lies[i].what);
		if (answer.size > sizeof(answer) && answer.status)
			errx(1, "%s: something follows the refusal", lies[i].what);
		wrong += lies[i].status != GS_STATUS_OK;
	}
	after = bad_state_of(monitor);
	if (after.refused - before.refused != wrong)
		errx(1, "%lu refused, and not %lu", (unsigned long)(after.refused - before.refused),
		     (unsigned long)wrong);
	printf("ok: %zu lies\n", ARRAY_SIZE(lies));
}

static void garbage(void)
{
	struct monitor monitor = bad_enter(&fabric_verbs_link);

	noise(&monitor);
	lies(&monitor);
	bad_is_heard(&monitor);
	bad_leave(&monitor);
}

/*
 * Writes outside of the slot.
 */

static bool lie_about_key;

static void set_member(struct json_object *reply, const char *object, const char *member,
		       uint64_t value)
{
	struct json_object *inner, *number;

	if (!json_object_object_get_ex(reply, object, &inner) ||
	    !json_object_object_get_ex(inner, member, &number))
		errx(1, "no %s.%s in the reply", object, member);
	json_object_set_uint64(number, value);
}

// Its own link believes that all of the mailbox is its slot.
static struct gs_error *connect_lying(struct fabric_link *link, struct json_object *reply)
{
	struct json_object *mailbox, *size, *key;

	if (!json_object_object_get_ex(reply, "mailbox", &mailbox) ||
	    !json_object_object_get_ex(mailbox, "size", &size) ||
	    !json_object_object_get_ex(mailbox, "rkey", &key))
		errx(1, "the reply has no mailbox");
	set_member(reply, "slot", "offset", 0);
	set_member(reply, "slot", "size", json_object_get_uint64(size));
	if (lie_about_key)
		set_member(reply, "slot", "rkey", json_object_get_uint64(key));
	return fabric_verbs_link.connect(link, reply);
}

static void outside(void)
{
	static const char *const what[] = {
		"the header",	  "the heartbeat",   "a detector's row",
		"findings",	  "its answers",     "its window",
		"another's slot", "behind its slot", "the header, by the key for reads"
	};
	struct fabric_link_ops lying = fabric_verbs_link;

	lying.connect = connect_lying;
	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		lie_about_key = i + 1 == ARRAY_SIZE(what);

		struct monitor monitor = bad_enter(&lying);
		const struct gs_mailbox_header *header = monitor.header;
		uint64_t own = header->requests.offset + monitor.index * slot_share(&monitor);
		const uint64_t offsets[ARRAY_SIZE(what)] = {
			8,
			header->heartbeat.offset,
			header->detectors.offset,
			header->rings[GS_MAILBOX_FINDINGS].offset,
			mailbox_answer_offset(header, monitor.index, 0),
			header->bulk.offset + monitor.index * mailbox_window_size(header),
			monitor.index ? header->requests.offset : own + slot_share(&monitor),
			own + slot_share(&monitor) - 4,
			8,
		};
		const uint64_t mark = MARK;
		uint64_t word;

		bad_must(monitor.fabric->write(monitor.link, offsets[i], &mark, sizeof(mark)));
		bad_must_fail(mailbox_read(monitor.reader, 0, &word, sizeof(word)), "refuses");
		// Nor its own slot any more.
		bad_must_fail(monitor.fabric->write(monitor.link, own, &mark, sizeof(mark)),
			      "refuses");
		bad_leave(&monitor);
		monitor = bad_enter(&fabric_verbs_link);
		bad_must(mailbox_read(monitor.reader, offsets[i], &word, sizeof(word)));
		if (word == MARK)
			errx(1, "%s could be written", what[i]);
		bad_is_heard(&monitor);
		bad_leave(&monitor);
		printf("ok: refused: %s\n", what[i]);
	}
}

/*
 * Death in mid-request.
 */

// It is killed, so nothing of it is ended in an orderly way.
static void killed_after(void (*what)(struct monitor *monitor))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		struct monitor monitor = bad_enter(&fabric_verbs_link);

		what(&monitor);
		kill(getpid(), SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		errx(1, "it was not killed");
}

static void half_a_request(struct monitor *monitor)
{
	uint64_t next = bad_state_of(monitor).last + 1;
	union gs_request_message message = { .head.kind = GS_REQUEST_PING };
	uint64_t word;

	mailbox_seal_request(monitor->header, &message.head, sizeof(message.head), monitor->index,
			     next);
	// Its number is there, and not what follows it.
	put(monitor, mailbox_request_offset(monitor->header, monitor->index, next), &message, 8);
	bad_must(mailbox_read(monitor->reader, 0, &word, sizeof(word)));
}

static void a_large_request(struct monitor *monitor)
{
	uint64_t next = bad_state_of(monitor).last + 1, word;

	// All that may be under way, and as large as the window.
	for (uint64_t i = 0; i < GS_REQUEST_DEPTH; i++) {
		union gs_request_message message = {
			.read = { .request.kind = GS_REQUEST_READ,
				  .length = UINT64_MAX,
				  .flags = GS_READ_F_VERIFY },
		};

		mailbox_seal_request(monitor->header, &message.head, sizeof(message.read),
				     monitor->index, next + i);
		bad_put_message(monitor, next + i, &message, sizeof(message.read));
	}
	bad_must(mailbox_read(monitor->reader, 0, &word, sizeof(word)));
}

static void comes_back(void)
{
	struct monitor monitor = bad_enter(&fabric_verbs_link);

	bad_is_heard(&monitor);
	bad_leave(&monitor);
}

static void dies(void)
{
	killed_after(half_a_request);
	comes_back();
	puts("ok: killed with half a request written");
	killed_after(a_large_request);
	comes_back();
	puts("ok: killed with large requests under way");
}

static const struct {
	const char *name;
	void (*fn)(void);
} modes[] = {
	{ "garbage", garbage },	  { "outside", outside },	  { "dies", dies },
	{ "replay", bad_replay }, { "recording", bad_recording },
};

int main(int argc, char **argv)
{
	setlinebuf(stdout);
	for (size_t i = 0; argc == 6 && i < ARRAY_SIZE(modes); i++) {
		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		host_name = argv[2];
		address = argv[3];
		keys = argv[4];
		as = argv[5];
		modes[i].fn();
		return 0;
	}
	errx(2, "usage: badmonitor garbage|outside|dies|replay|recording NAME ADDRESS KEYS AS");
}
