// SPDX-License-Identifier: Apache-2.0
// The past, in a request to the host and in what a monitor is shown.
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "badmonitor.h"
#include "mailbox/layout.h"

/*
 * Replay.
 */

// A detector's first parameter.
static void find_param(struct monitor *monitor, uint32_t *detector, uint32_t *generation,
		       uint64_t *value)
{
	for (uint32_t i = 0; i < monitor->header->detector_count; i++) {
		struct gs_mailbox_detector row;
		uint64_t before;

		bad_must(mailbox_read_detector(monitor->reader, i, &row));
		*detector = i;
		*generation = row.generation;

		struct gs_error *error = mailbox_client_param(monitor->client, i, row.generation, 0,
							      false, 0, &before, value);

		if (!error)
			return;
		gs_error_destroy(error);
	}
	errx(1, "no detector has a parameter");
}

static void is_value(struct monitor *monitor, uint32_t detector, uint32_t generation,
		     uint64_t wanted, const char *what)
{
	uint64_t before, value;

	bad_must(mailbox_client_synchronise(monitor->client));
	bad_must(mailbox_client_param(monitor->client, detector, generation, 0, false, 0, &before,
				      &value));
	if (value != wanted)
		errx(1, "%s: acted on twice: %lu", what, (unsigned long)value);
	printf("ok: %s\n", what);
}

static uint64_t set_raw(struct monitor *monitor, uint32_t detector, uint32_t generation,
			uint64_t value, union gs_request_message *ret)
{
	uint64_t next = bad_state_of(monitor).last + 1;

	*ret = (union gs_request_message){
		.param = { .request = { .kind = GS_REQUEST_PARAM, .nonce = MARK },
			   .detector = detector,
			   .generation = generation,
			   .flags = GS_PARAM_F_SET,
			   .value = value },
	};
	mailbox_seal_request(monitor->header, &ret->head, sizeof(ret->param), monitor->index, next);
	bad_put_message(monitor, next, ret, sizeof(ret->param));

	struct gs_answer answer = bad_answer_to(monitor, next);

	bad_must_be(&answer, GS_STATUS_OK, "a request");
	return next;
}

// The counter of runs that were asked for goes up by one for each; nobody else asks.
static void repeated_while_it_waits(struct monitor *monitor)
{
	uint64_t next = bad_state_of(monitor).last + 1, before, after;
	union gs_request_message message = { .run = { .request.kind = GS_REQUEST_RUN } };

	bad_must(mailbox_client_run(monitor->client, 0, 0, &before));
	next++;
	mailbox_seal_request(monitor->header, &message.head, sizeof(message.run), monitor->index,
			     next);
	for (int i = 0; i < 20; i++)
		bad_put_message(monitor, next, &message, sizeof(message.run));
	bad_answer_to(monitor, next);
	bad_must(mailbox_client_synchronise(monitor->client));
	bad_must(mailbox_client_run(monitor->client, 0, 0, &after));
	if (after != before + 2)
		errx(1, "%lu runs of one request", (unsigned long)(after - before - 1));
	puts("ok: a request that is sent twenty times is done once");
}

// What lies in the slots of others can be read, as all of the mailbox.
static void of_another(struct monitor *monitor)
{
	uint64_t next = bad_state_of(monitor).last + 1;
	union gs_request_message message = {};

	for (uint32_t other = 0; !message.head.sequence; other++) {
		if (other == monitor->header->monitor_count)
			errx(1, "there is no other monitor");
		for (uint64_t i = 0; other != monitor->index && i < GS_REQUEST_DEPTH; i++) {
			bad_must(mailbox_read(monitor->reader,
					      mailbox_request_offset(monitor->header, other, i),
					      &message, sizeof(message.head)));
			if (message.head.sequence && message.head.kind == GS_REQUEST_PING)
				break;
			message = (union gs_request_message){};
		}
	}
	// As it is, it has another number, and its CRC covers that.
	message.head.sequence = next;
	bad_put_message(monitor, next, &message, sizeof(message.head));

	struct gs_answer answer = bad_answer_to(monitor, next);

	bad_must_be(&answer, GS_STATUS_DAMAGED, "another's request with a new number");
	mailbox_seal_request(monitor->header, &message.head, sizeof(message.head),
			     message.head.monitor, next + 1);
	bad_put_message(monitor, next + 1, &message, sizeof(message.head));
	answer = bad_answer_to(monitor, next + 1);
	bad_must_be(&answer, GS_STATUS_FOREIGN, "another's request, sealed anew");
	puts("ok: another monitor's request");
}

void bad_replay(void)
{
	struct monitor monitor = bad_enter(&fabric_verbs_link);
	uint32_t detector, generation;
	union gs_request_message recorded, later;
	uint64_t value, number, ignored;

	find_param(&monitor, &detector, &generation, &value);
	number = set_raw(&monitor, detector, generation, value + 1, &recorded);
	set_raw(&monitor, detector, generation, value, &later);

	bad_put_message(&monitor, number, &recorded, sizeof(recorded.param));
	usleep(100000);
	is_value(&monitor, detector, generation, value, "a request again");

	// In the place of the next one, and when its own place is the next one's again.
	ignored = bad_state_of(&monitor).ignored;
	bad_put_message(&monitor, bad_state_of(&monitor).last + 1, &recorded,
			sizeof(recorded.param));
	usleep(100000);
	if (bad_state_of(&monitor).ignored == ignored)
		errx(1, "nobody has noticed an old number");
	is_value(&monitor, detector, generation, value, "in another place");
	while ((bad_state_of(&monitor).last + 1 - number) % GS_REQUEST_DEPTH)
		bad_is_heard(&monitor);
	bad_put_message(&monitor, number, &recorded, sizeof(recorded.param));
	usleep(100000);
	is_value(&monitor, detector, generation, value, "when its place has come again");

	// With the number that is waited for, but as it was otherwise.
	number = bad_state_of(&monitor).last + 1;
	recorded.head.sequence = number;
	bad_put_message(&monitor, number, &recorded, sizeof(recorded.param));

	struct gs_answer answer = bad_answer_to(&monitor, number);

	bad_must_be(&answer, GS_STATUS_DAMAGED, "an old request with a new number");
	is_value(&monitor, detector, generation, value, "with a new number");
	repeated_while_it_waits(&monitor);
	of_another(&monitor);
	bad_is_heard(&monitor);
	bad_leave(&monitor);
}

/*
 * A recording: what the monitor reads is not what is there.
 */

enum play {
	LIVE,
	// The answers are those of a moment.
	FROZEN,
	// An answer of the past has been given the number of the request, and a CRC that is right.
	FORGED,
};

static struct {
	enum play play;
	uint64_t offset, size;
	uint8_t *bytes;
	uint32_t seed;
} tape;

static void forge(uint64_t sequence, struct gs_ping_answer *ret)
{
	const struct gs_crc32c *table = mailbox_crc32c();
	uint32_t crc = ~tape.seed;
	uint64_t word;

	ret->answer.sequence = sequence;
	for (size_t i = 0; i < sizeof(*ret) / 8; i++) {
		memcpy(&word, (const char *)ret + i * 8, 8);
		crc = gs_crc32c_word(table, crc, i == 1 ? (uint32_t)word : word);
	}
	ret->answer.crc = gs_crc32c_finish(crc);
}

static struct gs_error *read_tape(struct fabric_link *link, const struct fabric_piece *pieces,
				  size_t count)
{
	struct gs_error *error = fabric_verbs_link.read(link, pieces, count);

	for (size_t i = 0; !error && tape.play != LIVE && i < count; i++) {
		uint64_t at = pieces[i].offset - tape.offset;

		if (at < tape.size && pieces[i].size <= tape.size - at)
			memcpy(pieces[i].buf, tape.bytes + at, pieces[i].size);
	}
	return error;
}

static void record(struct monitor *monitor)
{
	const struct gs_mailbox_header *header = monitor->header;

	tape.size = gs_monitor_share(&header->results, header->monitor_count, GS_MAILBOX_SLOT);
	tape.offset = header->results.offset + monitor->index * tape.size;
	tape.seed = gs_mailbox_seed(header);
	tape.bytes = malloc(tape.size);
	if (!tape.bytes)
		errx(1, "no memory");
	bad_must(mailbox_read(monitor->reader, tape.offset, tape.bytes, tape.size));
}

void bad_recording(void)
{
	struct fabric_link_ops taped = fabric_verbs_link;
	struct gs_ping_answer answer, old;

	taped.read = read_tape;

	struct monitor monitor = bad_enter(&taped);

	bad_must(mailbox_client_ping(monitor.client, &old));
	record(&monitor);

	uint64_t next = old.answer.sequence + 1;

	mailbox_client_set_timeout(monitor.client, SECOND / 2);
	tape.play = FROZEN;
	bad_must_fail(mailbox_client_ping(monitor.client, &answer), "does not answer request");
	puts("ok: a frozen mailbox");

	// That request was heard all the same, and the next one is to be answered by the past.
	tape.play = LIVE;
	bad_must(mailbox_client_synchronise(monitor.client));
	next++;
	forge(next, &old);
	memcpy(tape.bytes + mailbox_answer_offset(monitor.header, monitor.index, next) -
		       tape.offset,
	       &old, sizeof(old));
	tape.play = FORGED;
	bad_must_fail(mailbox_client_ping(monitor.client, &answer),
		      "somebody else speaks as monitor");
	puts("ok: an answer with an old nonce");
	tape.play = LIVE;
	mailbox_client_set_timeout(monitor.client, 20 * SECOND);
	bad_is_heard(&monitor);
	bad_leave(&monitor);
	free(tape.bytes);
}
