// SPDX-License-Identifier: Apache-2.0
/*
 * The verbs fabric on real queue pairs, between two machines:
 *	fabric serve			a mailbox, for who comes by TCP; what is said there is what the control port carries
 *	fabric check HOST		everything that a monitor may do, and what it may not
 *	fabric data HOST		that what is read and written is right, on a bad network
 *	fabric hold HOST		read until the other end is gone, and say when and how that was seen
 * Prints a line for each thing that is so; exit status 1 at the first one that is not.
 */
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "exchange.h"
#include "util/array.h"

enum {
	BIG = 4 << 20,
};

static const char *host;

static uint64_t now_ms(void)
{
	return exchange_ns() / 1000000;
}

static void must_fail(struct gs_error *error, enum gs_error_code code, const char *words)
{
	if (!error)
		errx(1, "nothing failed where \"%s\" was to be said", words);
	if (error->code != code || !strstr(error->message, words))
		errx(1, "not \"%s\", but: %s", words, error->message);
	gs_error_destroy(error);
}

static void compare(const uint8_t *bytes, uint64_t offset, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t want = exchange_pattern((offset + i) & ~UINT64_C(7));

		if (bytes[i] != (uint8_t)(want >> (offset + i) % 8 * 8))
			errx(1, "byte %zu of %zu at offset %#lx is wrong", i, size,
			     (unsigned long)offset);
	}
}

static void reads_of_any_size(void)
{
	static const size_t sizes[] = { 1, 8, 64, 4095, 4096, 4097, 20000, 65536, 1 << 20, BIG };
	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint8_t *buf = malloc(BIG);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t offset = (1 << 20) + i * 24 + i % 2;

		memset(buf, 0, sizes[i]);
		exchange_must(exchange_read(&monitor, offset, buf, sizes[i]));
		compare(buf, offset, sizes[i]);
	}
	exchange_must(exchange_read(&monitor, EXCHANGE_SIZE - 8, buf, 8));
	compare(buf, EXCHANGE_SIZE - 8, 8);
	if (fabric_verbs_link.size(monitor.link) != EXCHANGE_SIZE)
		errx(1, "the mailbox has another size");
	free(buf);
	exchange_leave(&monitor);
}

static void reads_of_many_pieces(void)
{
	enum { PIECES = 200, PIECE = 3000 };

	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint8_t *buf = calloc(PIECES, PIECE);
	struct fabric_piece pieces[PIECES];

	for (size_t i = 0; i < PIECES; i++)
		pieces[i] = (struct fabric_piece){
			.offset = (2 << 20) + (PIECES - i) * 4099,
			.buf = buf + i * PIECE,
			.size = i * PIECE / PIECES,
		};
	exchange_must(fabric_verbs_link.read(monitor.link, pieces, PIECES));
	for (size_t i = 0; i < PIECES; i++)
		compare(pieces[i].buf, pieces[i].offset, pieces[i].size);
	free(buf);
	exchange_leave(&monitor);
}

static void reads_that_are_started(void)
{
	enum { PIECES = 40, PIECE = 150000 };

	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint8_t *buf = calloc(PIECES, PIECE), word[8];
	struct fabric_piece pieces[PIECES];

	for (size_t i = 0; i < PIECES; i++) {
		pieces[i] = (struct fabric_piece){
			.offset = (1 << 20) + i * 4099,
			.buf = buf + i * PIECE,
			.size = i % 3 ? PIECE - i : 8 * i,
		};
		exchange_must(fabric_verbs_link.start(monitor.link, &pieces[i], 1));
	}
	// What is read behind them comes behind them, and a write goes in between.
	exchange_must(exchange_write(&monitor, monitor.slot, "written!", 8));
	exchange_must(exchange_read(&monitor, monitor.slot, word, sizeof(word)));
	if (memcmp(word, "written!", 8))
		errx(1, "a write was lost among reads");
	for (size_t i = 0; i < PIECES; i++)
		compare(pieces[i].buf, pieces[i].offset, pieces[i].size);
	memset(buf, 0, (size_t)PIECES * PIECE);
	exchange_must(fabric_verbs_link.start(monitor.link, pieces, PIECES));
	exchange_must(fabric_verbs_link.finish(monitor.link));
	exchange_must(fabric_verbs_link.finish(monitor.link));
	for (size_t i = 0; i < PIECES; i++)
		compare(pieces[i].buf, pieces[i].offset, pieces[i].size);
	free(buf);
	exchange_leave(&monitor);
}

// The link's own memory takes reads without a copy, beside reads to elsewhere.
static void reads_into_its_buffer(void)
{
	enum { PIECES = 8, PIECE = 300001 };

	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint8_t *elsewhere = calloc(PIECES, PIECE);
	void *buf;

	// Small at first, and then larger.
	exchange_must(fabric_verbs_link.buffer(monitor.link, 4096, &buf));
	exchange_must(exchange_read(&monitor, 1 << 20, buf, 4096));
	compare(buf, 1 << 20, 4096);
	exchange_must(fabric_verbs_link.buffer(monitor.link, (size_t)PIECES * PIECE, &buf));

	struct fabric_piece pieces[PIECES];

	for (size_t i = 0; i < PIECES; i++) {
		uint8_t *to = i % 3 == 2 ? elsewhere : buf;

		pieces[i] = (struct fabric_piece){
			.offset = (1 << 20) + i * 4099,
			.buf = to + i * PIECE,
			.size = PIECE - i,
		};
		exchange_must(fabric_verbs_link.start(monitor.link, &pieces[i], 1));
	}
	exchange_must(fabric_verbs_link.finish(monitor.link));
	for (size_t i = 0; i < PIECES; i++)
		compare(pieces[i].buf, pieces[i].offset, pieces[i].size);
	free(elsewhere);
	exchange_leave(&monitor);
}

static void writes_arrive_in_order(void)
{
	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint8_t sent[EXCHANGE_SLOT], received[EXCHANGE_SLOT];
	static const size_t sizes[] = { 8, 64, 256, 264, 512, EXCHANGE_SLOT };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(sent, (int)(i + 1), sizes[i]);
		exchange_must(exchange_write(&monitor, monitor.slot + EXCHANGE_SLOT - sizes[i],
					     sent, sizes[i]));
		exchange_must(exchange_read(&monitor, monitor.slot + EXCHANGE_SLOT - sizes[i],
					    received, sizes[i]));
		if (memcmp(sent, received, sizes[i]))
			errx(1, "%zu bytes are not what was written", sizes[i]);
	}
	// A message and then its number, as requests are made; more of them than are under way at a time.
	for (uint64_t n = 1; n <= 300; n++) {
		uint64_t seen[65];

		for (size_t i = 0; i < 64; i++)
			((uint64_t *)sent)[i] = n;
		exchange_must(exchange_write(&monitor, monitor.slot + 8, sent, 512));
		exchange_must(exchange_write(&monitor, monitor.slot, &n, 8));
		if (n % 50)
			continue;
		exchange_must(exchange_read(&monitor, monitor.slot, seen, sizeof(seen)));
		for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
			if (seen[i] != n)
				errx(1, "word %zu is %lu, and not %lu", i, (unsigned long)seen[i],
				     (unsigned long)n);
		}
	}
	exchange_leave(&monitor);
}

static void monitors_have_slots_of_their_own(void)
{
	struct monitor a = exchange_enter(host, NULL, NULL), b = exchange_enter(host, NULL, NULL);
	uint64_t one = 1, two = 2, seen = 0;

	if (a.slot == b.slot || a.rkey == b.rkey)
		errx(1, "one slot for two monitors");
	exchange_must(exchange_write(&a, a.slot, &one, 8));
	exchange_must(exchange_write(&b, b.slot, &two, 8));
	exchange_must(exchange_read(&b, b.slot, &seen, 8));
	exchange_must(exchange_read(&a, a.slot, &one, 8));
	if (one != 1 || seen != 2)
		errx(1, "a monitor's slot has another one's bytes");
	exchange_leave(&a);
	exchange_leave(&b);
}

static void mistakes_are_told_at_home(void)
{
	struct monitor monitor = exchange_enter(host, NULL, NULL);
	uint64_t word;

	must_fail(exchange_read(&monitor, EXCHANGE_SIZE - 4, &word, 8), GS_ERROR_USAGE,
		  "within the mailbox");
	must_fail(exchange_read(&monitor, UINT64_MAX, &word, 8), GS_ERROR_USAGE,
		  "within the mailbox");
	must_fail(exchange_write(&monitor, monitor.slot - 8, &word, 8), GS_ERROR_USAGE,
		  "within this monitor");
	must_fail(exchange_write(&monitor, monitor.slot + EXCHANGE_SLOT, &word, 8), GS_ERROR_USAGE,
		  "within this monitor");
	exchange_must(exchange_read(&monitor, 0, &word, 8));
	exchange_leave(&monitor);
}

static void lie_about_slot(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	exchange_set(reply, "slot", "size", 2 * EXCHANGE_SLOT);
}

static void lie_about_size(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	exchange_set(reply, "mailbox", "size", EXCHANGE_SIZE + 8);
}

static void lie_about_mailbox_key(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	exchange_set(reply, "slot", "offset", 0);
	exchange_set(reply, "slot", "rkey", exchange_number(reply, "mailbox", "rkey"));
}

static void steal_key(struct json_object *reply, const struct monitor *victim)
{
	exchange_set(reply, "slot", "offset", victim->slot);
	exchange_set(reply, "slot", "rkey", victim->rkey);
}

// Each in a link of its own, which is of no use afterwards; an honest monitor notices nothing.
static void liars_are_refused(void)
{
	static const struct {
		const char *what;
		exchange_lie_fn *lie;
		bool write;
		// From the liar's own slot; of a write to another monitor's, from there.
		int64_t offset;
		bool absolute;
	} lies[] = {
		{ "a write behind the slot", lie_about_slot, true, EXCHANGE_SLOT, false },
		{ "a write across the slot's end", lie_about_slot, true, EXCHANGE_SLOT - 4, false },
		{ "a read behind the mailbox", lie_about_size, false, EXCHANGE_SIZE, true },
		{ "a write by the key for reads", lie_about_mailbox_key, true, 0, true },
		{ "a write by another monitor's key", steal_key, true, 0, false },
	};
	struct monitor victim = exchange_enter(host, NULL, NULL);
	uint64_t own = 0x1122334455667788, word = 0, first;

	exchange_must(exchange_write(&victim, victim.slot, &own, 8));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct monitor liar = exchange_enter(host, lies[i].lie, &victim);
		uint64_t base = lies[i].lie == steal_key ? victim.slot : liar.slot;
		uint64_t offset = (lies[i].absolute ? 0 : base) + (uint64_t)lies[i].offset;

		if (lies[i].write) {
			exchange_must(exchange_write(&liar, offset, &word, 8));
			must_fail(exchange_read(&liar, 0, &word, 8), GS_ERROR_OTHER, "refuses");
		} else {
			must_fail(exchange_read(&liar, offset, &word, 8), GS_ERROR_OTHER,
				  "refuses");
		}
		must_fail(exchange_write(&liar, liar.slot, &word, 8), GS_ERROR_OTHER, "refuses");
		exchange_leave(&liar);
		exchange_must(exchange_read(&victim, victim.slot, &word, 8));
		exchange_must(exchange_read(&victim, 0, &first, 8));
		if (word != own || first != exchange_pattern(0))
			errx(1, "%s went through", lies[i].what);
		exchange_must(exchange_read(&victim, victim.slot + EXCHANGE_SLOT, &word, 8));
		printf("ok: refused: %s\n", lies[i].what);
	}
	exchange_leave(&victim);
}

static void detached_monitors_get_at_nothing(void)
{
	struct monitor monitor = exchange_enter(host, NULL, NULL),
		       other = exchange_enter(host, NULL, NULL);
	uint64_t word;

	exchange_must(exchange_read(&monitor, 0, &word, 8));
	json_object_put(exchange_ask(monitor.fd, "detach"));
	must_fail(exchange_read(&monitor, 0, &word, 8), GS_ERROR_OTHER, "does not answer");
	exchange_must(exchange_read(&other, 0, &word, 8));
	exchange_leave(&monitor);
	exchange_leave(&other);
}

// Sessions that come and go leave room for the next.
static void monitors_come_and_go(void)
{
	for (int i = 0; i < 20; i++) {
		struct monitor monitor = exchange_enter(host, NULL, NULL);
		uint64_t word;

		exchange_must(exchange_read(&monitor, 0, &word, 8));
		exchange_leave(&monitor);
	}
}

static void bad_offers_are_refused(void)
{
	static const char *const offers[] = {
		"nonsense",
		"[]",
		"{\"version\":1}",
		"{\"version\":1,\"qpn\":17,\"psn\":0,\"lid\":0,\"mtu\":1024,\"reads\":1,\"gids\":[]}",
		// Nobody is there.
		"{\"version\":1,\"qpn\":17,\"psn\":0,\"lid\":0,\"mtu\":1024,\"reads\":1,\"gids\":"
		"[{\"gid\":\"::ffff:10.0.0.99\",\"type\":\"roce2\"}]}",
		// Of a kind that soft-RoCE is not.
		"{\"version\":1,\"qpn\":17,\"psn\":0,\"lid\":1,\"mtu\":1024,\"reads\":1,\"gids\":"
		"[{\"gid\":\"fe80::1\",\"type\":\"infiniband\"}]}",
	};
	struct monitor monitor;
	int fd = exchange_dial(host);
	uint64_t word;

	for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
		struct json_object *reply = exchange_ask(fd, offers[i]), *error;

		if (!json_object_object_get_ex(reply, "error", &error))
			errx(1, "accepted: %s", offers[i]);
		json_object_put(reply);
	}
	close(fd);
	monitor = exchange_enter(host, NULL, NULL);
	exchange_must(exchange_read(&monitor, 0, &word, 8));
	exchange_leave(&monitor);
}

// Soft-RoCE has no way to register what a GPU exports.
static void gpu_memory_is_not_for_every_nic(void)
{
	const struct gs_mailbox_export export = { .size = EXCHANGE_SIZE, .fd = 0 };
	struct json_object *offer = json_object_new_object(), *reply = json_object_new_object();
	struct fabric_session *session;
	struct fabric_server *server;
	struct fabric_link *link, *other;

	exchange_must(fabric_verbs_server.open(NULL, &export, &server));
	exchange_must(fabric_verbs_link.open(NULL, offer, &link));
	must_fail(fabric_verbs_server.attach(server, EXCHANGE_SLOTS, EXCHANGE_SLOT, offer, reply,
					     &session),
		  GS_ERROR_OTHER, "GPU memory by dma-buf");
	must_fail(fabric_verbs_server.attach(server, EXCHANGE_SIZE - 8, EXCHANGE_SLOT, offer, reply,
					     &session),
		  GS_ERROR_USAGE, "within the mailbox");
	must_fail(fabric_verbs_link.read(link, NULL, 0), GS_ERROR_USAGE, "not connected");
	must_fail(fabric_verbs_link.open("rxe1", offer, &other), GS_ERROR_USAGE, "there are: rxe0");
	must_fail(fabric_verbs_link.open("rxe0/2", offer, &other), GS_ERROR_USAGE, "no port 2");
	fabric_verbs_link.close(link);
	fabric_verbs_server.close(server);
	json_object_put(offer);
	json_object_put(reply);
}

static void other_end_dies(void)
{
	struct monitor monitor = exchange_enter(host, NULL, NULL);
	struct gs_error *error = NULL;
	uint64_t word, last = now_ms();

	puts("holding");
	fflush(stdout);
	for (; !error; usleep(10000)) {
		error = exchange_read(&monitor, 0, &word, 8);
		if (!error)
			last = now_ms();
	}
	printf("seen after %lu ms: %s\n", (unsigned long)(now_ms() - last), error->message);
	must_fail(error, GS_ERROR_OTHER, "does not answer");
	must_fail(exchange_read(&monitor, 0, &word, 8), GS_ERROR_OTHER, "does not answer");
	must_fail(exchange_write(&monitor, monitor.slot, &word, 8), GS_ERROR_OTHER,
		  "does not answer");
	exchange_leave(&monitor);
}

static const struct {
	const char *mode, *what;
	void (*fn)(void);
} checks[] = {
	{ "data", "reads of any size", reads_of_any_size },
	{ "data", "reads of many pieces", reads_of_many_pieces },
	{ "data", "reads that are started", reads_that_are_started },
	{ "data", "reads into its buffer", reads_into_its_buffer },
	{ "data", "writes arrive, in order", writes_arrive_in_order },
	{ "data", "monitors have slots of their own", monitors_have_slots_of_their_own },
	{ "check", "mistakes are told at home", mistakes_are_told_at_home },
	{ "check", "liars are refused, and others notice nothing", liars_are_refused },
	{ "check", "detached monitors get at nothing", detached_monitors_get_at_nothing },
	{ "check", "monitors come and go", monitors_come_and_go },
	{ "check", "bad offers are refused", bad_offers_are_refused },
	{ "check", "what a NIC cannot do, and which there are, is said",
	  gpu_memory_is_not_for_every_nic },
	{ "hold", "the other end's death is seen", other_end_dies },
};

int main(int argc, char **argv)
{
	bool known = false;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		exchange_serve(EXCHANGE_SIZE);
	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(checks); i++) {
		uint64_t begin = now_ms();

		if (strcmp(argv[1], checks[i].mode) != 0)
			continue;
		known = true;
		host = argv[2];
		checks[i].fn();
		printf("ok: %s (%lu ms)\n", checks[i].what, (unsigned long)(now_ms() - begin));
		fflush(stdout);
	}
	if (!known)
		errx(2, "usage: fabric serve | check HOST | data HOST | hold HOST");
	return 0;
}
