// SPDX-License-Identifier: Apache-2.0
/*
 * The verbs fabric on real queue pairs, between two machines:
 *	fabric serve			a mailbox, for who comes by TCP; what is said there is what the control port carries
 *	fabric check HOST		everything that a monitor may do, and what it may not
 *	fabric data HOST		that what is read and written is right, on a bad network
 *	fabric hold HOST		read until the other end is gone, and say when and how that was seen
 * Prints a line for each thing that is so; exit status 1 at the first one that is not.
 */
#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "grass/fabric.h"
#include "util/array.h"
#include "util/cleanup.h"

enum {
	PORT = 7000,
	SIZE = 16 << 20,
	SLOT = 4096,
	SLOTS = 65536,
	MONITORS = 8,
	LINE_MAX_SIZE = 8192,
	BIG = 4 << 20,
};

// What the mailbox holds at a multiple of 8, other than in slots.
static uint64_t pattern(uint64_t offset)
{
	uint64_t x = (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 29;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void must(struct gs_error *error)
{
	if (error)
		errx(1, "%s", error->message);
}

// A line, without its end; NULL: the other end has gone.
static char *read_line(int fd, char line[LINE_MAX_SIZE])
{
	for (size_t length = 0; length < LINE_MAX_SIZE && read(fd, line + length, 1) == 1;
	     length++) {
		if (line[length] == '\n') {
			line[length] = 0;
			return line;
		}
	}
	return NULL;
}

static void write_line(int fd, const char *line)
{
	dprintf(fd, "%s\n", line);
}

/*
 * The watched side.
 */

struct visitor {
	int fd;
	struct fabric_session *session;
};

static struct visitor visitors[MONITORS];
static struct fabric_server *server;
static uint8_t *mailbox;

static void leave(struct visitor *visitor)
{
	fabric_verbs_server.detach(visitor->session);
	visitor->session = NULL;
}

// An offer is answered with a reply or {"error": ...}; "detach" with {}.
static void answer(struct visitor *visitor, const char *line)
{
	struct json_object *offer = json_tokener_parse(line), *reply = json_object_new_object();

	if (strcmp(line, "detach") == 0) {
		leave(visitor);
	} else {
		uint64_t slot = SLOTS + (uint64_t)(visitor - visitors) * SLOT;

		leave(visitor);
		memset(mailbox + slot, 0, SLOT);

		struct gs_error *error = fabric_verbs_server.attach(server, slot, SLOT, offer,
								    reply, &visitor->session);

		if (error)
			json_object_object_add(reply, "error",
					       json_object_new_string(error->message));
		gs_error_destroy(error);
	}
	write_line(visitor->fd, json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));
	json_object_put(offer);
	json_object_put(reply);
}

static void welcome(int listener)
{
	int fd = accept(listener, NULL, NULL);

	for (int i = 0; i < MONITORS; i++) {
		if (visitors[i].fd < 0) {
			visitors[i].fd = fd;
			return;
		}
	}
	close(fd);
}

static int serve(void)
{
	int fd = memfd_create("mailbox", MFD_CLOEXEC), one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	if (fd < 0 || ftruncate(fd, SIZE) < 0)
		err(1, "memfd");
	mailbox = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mailbox == MAP_FAILED)
		err(1, "mmap");
	for (uint64_t offset = 0; offset < SIZE; offset += 8)
		*(uint64_t *)(mailbox + offset) = pattern(offset);

	struct gs_mailbox_export export = { .size = SIZE, .memory = mailbox, .fd = fd };

	must(fabric_verbs_server.open(NULL, &export, &server));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, MONITORS) < 0)
		err(1, "port %d", PORT);
	for (int i = 0; i < MONITORS; i++)
		visitors[i].fd = -1;
	puts("serving");
	fflush(stdout);
	for (;;) {
		struct pollfd fds[MONITORS + 1] = { { .fd = listener, .events = POLLIN } };

		for (int i = 0; i < MONITORS; i++)
			fds[i + 1] = (struct pollfd){ .fd = visitors[i].fd, .events = POLLIN };
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			err(1, "poll");
		for (int i = 0; i < MONITORS; i++) {
			char line[LINE_MAX_SIZE];

			if (!fds[i + 1].revents)
				continue;
			if (read_line(visitors[i].fd, line)) {
				answer(&visitors[i], line);
				continue;
			}
			leave(&visitors[i]);
			close(visitors[i].fd);
			visitors[i].fd = -1;
		}
		if (fds[0].revents)
			welcome(listener);
	}
}

/*
 * The monitoring side.
 */

struct monitor {
	int fd;
	struct fabric_link *link;
	// Of its slot.
	uint64_t slot, rkey;
};

static const char *host;

static int dial(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		errx(2, "%s: no address", host);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "%s", host);
	return fd;
}

static struct json_object *ask(int fd, const char *line)
{
	char reply[LINE_MAX_SIZE];

	write_line(fd, line);
	if (!read_line(fd, reply))
		errx(1, "%s: hung up", host);

	struct json_object *json = json_tokener_parse(reply);

	if (!json)
		errx(1, "%s: says \"%s\"", host, reply);
	return json;
}

static struct json_object *member(struct json_object *json, const char *object, const char *key)
{
	struct json_object *inner, *value;

	if (!json_object_object_get_ex(json, object, &inner) ||
	    !json_object_object_get_ex(inner, key, &value))
		errx(1, "no %s.%s in %s", object, key, json_object_to_json_string(json));
	return value;
}

static uint64_t number(struct json_object *json, const char *object, const char *key)
{
	return json_object_get_uint64(member(json, object, key));
}

static void set_number(struct json_object *json, const char *object, const char *key,
		       uint64_t value)
{
	json_object_set_uint64(member(json, object, key), value);
}

// A lying monitor believes in what it makes of the reply; NULL: an honest one.
typedef void lie_fn(struct json_object *reply, const struct monitor *victim);

static struct monitor enter_as(lie_fn *lie, const struct monitor *victim)
{
	struct json_object *offer = json_object_new_object(), *reply, *error;
	struct monitor monitor = { .fd = dial() };

	must(fabric_verbs_link.open("rxe0/1", offer, &monitor.link));
	reply = ask(monitor.fd, json_object_to_json_string_ext(offer, JSON_C_TO_STRING_PLAIN));
	if (json_object_object_get_ex(reply, "error", &error))
		errx(1, "%s: %s", host, json_object_get_string(error));
	monitor.slot = number(reply, "slot", "offset");
	monitor.rkey = number(reply, "slot", "rkey");
	if (lie)
		lie(reply, victim);
	must(fabric_verbs_link.connect(monitor.link, reply));
	json_object_put(offer);
	json_object_put(reply);
	return monitor;
}

static struct monitor enter(void)
{
	return enter_as(NULL, NULL);
}

static void go(struct monitor *monitor)
{
	fabric_verbs_link.close(monitor->link);
	close(monitor->fd);
}

static struct gs_error *get(const struct monitor *monitor, uint64_t offset, void *buf, size_t size)
{
	struct fabric_piece piece = { .offset = offset, .buf = buf, .size = size };

	return fabric_verbs_link.read(monitor->link, &piece, 1);
}

static struct gs_error *put(const struct monitor *monitor, uint64_t offset, const void *buf,
			    size_t size)
{
	return fabric_verbs_link.write(monitor->link, offset, buf, size);
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
		uint64_t want = pattern((offset + i) & ~UINT64_C(7));

		if (bytes[i] != (uint8_t)(want >> (offset + i) % 8 * 8))
			errx(1, "byte %zu of %zu at offset %#lx is wrong", i, size,
			     (unsigned long)offset);
	}
}

static void reads_of_any_size(void)
{
	static const size_t sizes[] = { 1, 8, 64, 4095, 4096, 4097, 20000, 65536, 1 << 20, BIG };
	struct monitor monitor = enter();
	uint8_t *buf = malloc(BIG);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t offset = (1 << 20) + i * 24 + i % 2;

		memset(buf, 0, sizes[i]);
		must(get(&monitor, offset, buf, sizes[i]));
		compare(buf, offset, sizes[i]);
	}
	must(get(&monitor, SIZE - 8, buf, 8));
	compare(buf, SIZE - 8, 8);
	if (fabric_verbs_link.size(monitor.link) != SIZE)
		errx(1, "the mailbox has another size");
	free(buf);
	go(&monitor);
}

static void reads_of_many_pieces(void)
{
	enum { PIECES = 200, PIECE = 3000 };

	struct monitor monitor = enter();
	uint8_t *buf = calloc(PIECES, PIECE);
	struct fabric_piece pieces[PIECES];

	for (size_t i = 0; i < PIECES; i++)
		pieces[i] = (struct fabric_piece){
			.offset = (2 << 20) + (PIECES - i) * 4099,
			.buf = buf + i * PIECE,
			.size = i * PIECE / PIECES,
		};
	must(fabric_verbs_link.read(monitor.link, pieces, PIECES));
	for (size_t i = 0; i < PIECES; i++)
		compare(pieces[i].buf, pieces[i].offset, pieces[i].size);
	free(buf);
	go(&monitor);
}

static void writes_arrive_in_order(void)
{
	struct monitor monitor = enter();
	uint8_t sent[SLOT], received[SLOT];
	static const size_t sizes[] = { 8, 64, 256, 264, 512, SLOT };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(sent, (int)(i + 1), sizes[i]);
		must(put(&monitor, monitor.slot + SLOT - sizes[i], sent, sizes[i]));
		must(get(&monitor, monitor.slot + SLOT - sizes[i], received, sizes[i]));
		if (memcmp(sent, received, sizes[i]))
			errx(1, "%zu bytes are not what was written", sizes[i]);
	}
	// A message and then its number, as requests are made; more of them than are under way at a time.
	for (uint64_t n = 1; n <= 300; n++) {
		uint64_t seen[65];

		for (size_t i = 0; i < 64; i++)
			((uint64_t *)sent)[i] = n;
		must(put(&monitor, monitor.slot + 8, sent, 512));
		must(put(&monitor, monitor.slot, &n, 8));
		if (n % 50)
			continue;
		must(get(&monitor, monitor.slot, seen, sizeof(seen)));
		for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
			if (seen[i] != n)
				errx(1, "word %zu is %lu, and not %lu", i, (unsigned long)seen[i],
				     (unsigned long)n);
		}
	}
	go(&monitor);
}

static void monitors_have_slots_of_their_own(void)
{
	struct monitor a = enter(), b = enter();
	uint64_t one = 1, two = 2, seen = 0;

	if (a.slot == b.slot || a.rkey == b.rkey)
		errx(1, "one slot for two monitors");
	must(put(&a, a.slot, &one, 8));
	must(put(&b, b.slot, &two, 8));
	must(get(&b, b.slot, &seen, 8));
	must(get(&a, a.slot, &one, 8));
	if (one != 1 || seen != 2)
		errx(1, "a monitor's slot has another one's bytes");
	go(&a);
	go(&b);
}

static void mistakes_are_told_at_home(void)
{
	struct monitor monitor = enter();
	uint64_t word;

	must_fail(get(&monitor, SIZE - 4, &word, 8), GS_ERROR_USAGE, "within the mailbox");
	must_fail(get(&monitor, UINT64_MAX, &word, 8), GS_ERROR_USAGE, "within the mailbox");
	must_fail(put(&monitor, monitor.slot - 8, &word, 8), GS_ERROR_USAGE, "within this monitor");
	must_fail(put(&monitor, monitor.slot + SLOT, &word, 8), GS_ERROR_USAGE,
		  "within this monitor");
	must(get(&monitor, 0, &word, 8));
	go(&monitor);
}

static void lie_about_slot(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	set_number(reply, "slot", "size", 2 * SLOT);
}

static void lie_about_size(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	set_number(reply, "mailbox", "size", SIZE + 8);
}

static void lie_about_mailbox_key(struct json_object *reply, const struct monitor *victim)
{
	(void)victim;
	set_number(reply, "slot", "offset", 0);
	set_number(reply, "slot", "rkey", number(reply, "mailbox", "rkey"));
}

static void steal_key(struct json_object *reply, const struct monitor *victim)
{
	set_number(reply, "slot", "offset", victim->slot);
	set_number(reply, "slot", "rkey", victim->rkey);
}

// Each in a link of its own, which is of no use afterwards; an honest monitor notices nothing.
static void liars_are_refused(void)
{
	static const struct {
		const char *what;
		lie_fn *lie;
		bool write;
		// From the liar's own slot; of a write to another monitor's, from there.
		int64_t offset;
		bool absolute;
	} lies[] = {
		{ "a write behind the slot", lie_about_slot, true, SLOT, false },
		{ "a write across the slot's end", lie_about_slot, true, SLOT - 4, false },
		{ "a read behind the mailbox", lie_about_size, false, SIZE, true },
		{ "a write by the key for reads", lie_about_mailbox_key, true, 0, true },
		{ "a write by another monitor's key", steal_key, true, 0, false },
	};
	struct monitor victim = enter();
	uint64_t own = 0x1122334455667788, word = 0, first;

	must(put(&victim, victim.slot, &own, 8));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct monitor liar = enter_as(lies[i].lie, &victim);
		uint64_t base = lies[i].lie == steal_key ? victim.slot : liar.slot;
		uint64_t offset = (lies[i].absolute ? 0 : base) + (uint64_t)lies[i].offset;

		if (lies[i].write) {
			must(put(&liar, offset, &word, 8));
			must_fail(get(&liar, 0, &word, 8), GS_ERROR_OTHER, "refuses");
		} else {
			must_fail(get(&liar, offset, &word, 8), GS_ERROR_OTHER, "refuses");
		}
		must_fail(put(&liar, liar.slot, &word, 8), GS_ERROR_OTHER, "refuses");
		go(&liar);
		must(get(&victim, victim.slot, &word, 8));
		must(get(&victim, 0, &first, 8));
		if (word != own || first != pattern(0))
			errx(1, "%s went through", lies[i].what);
		must(get(&victim, victim.slot + SLOT, &word, 8));
		printf("ok: refused: %s\n", lies[i].what);
	}
	go(&victim);
}

static void detached_monitors_get_at_nothing(void)
{
	struct monitor monitor = enter(), other = enter();
	uint64_t word;

	must(get(&monitor, 0, &word, 8));
	json_object_put(ask(monitor.fd, "detach"));
	must_fail(get(&monitor, 0, &word, 8), GS_ERROR_OTHER, "does not answer");
	must(get(&other, 0, &word, 8));
	go(&monitor);
	go(&other);
}

// Sessions that come and go leave room for the next.
static void monitors_come_and_go(void)
{
	for (int i = 0; i < 20; i++) {
		struct monitor monitor = enter();
		uint64_t word;

		must(get(&monitor, 0, &word, 8));
		go(&monitor);
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
	int fd = dial();
	uint64_t word;

	for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
		struct json_object *reply = ask(fd, offers[i]), *error;

		if (!json_object_object_get_ex(reply, "error", &error))
			errx(1, "accepted: %s", offers[i]);
		json_object_put(reply);
	}
	close(fd);
	monitor = enter();
	must(get(&monitor, 0, &word, 8));
	go(&monitor);
}

static void other_end_dies(void)
{
	struct monitor monitor = enter();
	struct gs_error *error = NULL;
	uint64_t word, last = now_ms();

	puts("holding");
	fflush(stdout);
	for (; !error; usleep(10000)) {
		error = get(&monitor, 0, &word, 8);
		if (!error)
			last = now_ms();
	}
	printf("seen after %lu ms: %s\n", (unsigned long)(now_ms() - last), error->message);
	must_fail(error, GS_ERROR_OTHER, "does not answer");
	must_fail(get(&monitor, 0, &word, 8), GS_ERROR_OTHER, "does not answer");
	must_fail(put(&monitor, monitor.slot, &word, 8), GS_ERROR_OTHER, "does not answer");
	go(&monitor);
}

static const struct {
	const char *mode, *what;
	void (*fn)(void);
} checks[] = {
	{ "data", "reads of any size", reads_of_any_size },
	{ "data", "reads of many pieces", reads_of_many_pieces },
	{ "data", "writes arrive, in order", writes_arrive_in_order },
	{ "data", "monitors have slots of their own", monitors_have_slots_of_their_own },
	{ "check", "mistakes are told at home", mistakes_are_told_at_home },
	{ "check", "liars are refused, and others notice nothing", liars_are_refused },
	{ "check", "detached monitors get at nothing", detached_monitors_get_at_nothing },
	{ "check", "monitors come and go", monitors_come_and_go },
	{ "check", "bad offers are refused", bad_offers_are_refused },
	{ "hold", "the other end's death is seen", other_end_dies },
};

int main(int argc, char **argv)
{
	bool known = false;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		return serve();
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
