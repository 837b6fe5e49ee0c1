// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "util/array.h"

enum {
	PORT = 7000,
	LINE_MAX_SIZE = 8192,
};

uint64_t exchange_pattern(uint64_t offset)
{
	uint64_t x = (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 29;
}

uint64_t exchange_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void exchange_must(struct gs_error *error)
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

static struct visitor visitors[EXCHANGE_MONITORS];
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
		uint64_t slot = EXCHANGE_SLOTS + (uint64_t)(visitor - visitors) * EXCHANGE_SLOT;

		leave(visitor);
		memset(mailbox + slot, 0, EXCHANGE_SLOT);

		struct gs_error *error = fabric_verbs_server.attach(
			server, slot, EXCHANGE_SLOT, offer, reply, &visitor->session);

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

	for (int i = 0; i < EXCHANGE_MONITORS; i++) {
		if (visitors[i].fd < 0) {
			visitors[i].fd = fd;
			return;
		}
	}
	close(fd);
}

_Noreturn void exchange_serve(uint64_t size)
{
	int fd = memfd_create("mailbox", MFD_CLOEXEC), one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		err(1, "memfd");
	mailbox = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mailbox == MAP_FAILED)
		err(1, "mmap");
	for (uint64_t offset = 0; offset < size; offset += 8)
		*(uint64_t *)(mailbox + offset) = exchange_pattern(offset);

	struct gs_mailbox_export export = { .size = size, .memory = mailbox, .fd = fd };

	exchange_must(fabric_verbs_server.open(NULL, &export, &server));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, EXCHANGE_MONITORS) < 0)
		err(1, "port %d", PORT);
	for (int i = 0; i < EXCHANGE_MONITORS; i++)
		visitors[i].fd = -1;
	puts("serving");
	fflush(stdout);
	for (;;) {
		struct pollfd fds[EXCHANGE_MONITORS + 1] = { { .fd = listener, .events = POLLIN } };

		for (int i = 0; i < EXCHANGE_MONITORS; i++)
			fds[i + 1] = (struct pollfd){ .fd = visitors[i].fd, .events = POLLIN };
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			err(1, "poll");
		for (int i = 0; i < EXCHANGE_MONITORS; i++) {
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

int exchange_dial(const char *host)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		errx(2, "%s: no address", host);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "%s", host);
	return fd;
}

struct json_object *exchange_ask(int fd, const char *line)
{
	char reply[LINE_MAX_SIZE];

	write_line(fd, line);
	if (!read_line(fd, reply))
		errx(1, "the other end hung up");

	struct json_object *json = json_tokener_parse(reply);

	if (!json)
		errx(1, "the other end says \"%s\"", reply);
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

uint64_t exchange_number(struct json_object *json, const char *object, const char *key)
{
	return json_object_get_uint64(member(json, object, key));
}

void exchange_set(struct json_object *json, const char *object, const char *key, uint64_t value)
{
	json_object_set_uint64(member(json, object, key), value);
}

struct monitor exchange_enter(const char *host, exchange_lie_fn *lie, const struct monitor *victim)
{
	struct json_object *offer = json_object_new_object(), *reply, *error;
	struct monitor monitor = { .fd = exchange_dial(host) };

	exchange_must(fabric_verbs_link.open("rxe0/1", offer, &monitor.link));
	reply = exchange_ask(monitor.fd,
			     json_object_to_json_string_ext(offer, JSON_C_TO_STRING_PLAIN));
	if (json_object_object_get_ex(reply, "error", &error))
		errx(1, "%s: %s", host, json_object_get_string(error));
	monitor.slot = exchange_number(reply, "slot", "offset");
	monitor.rkey = exchange_number(reply, "slot", "rkey");
	if (lie)
		lie(reply, victim);
	exchange_must(fabric_verbs_link.connect(monitor.link, reply));
	json_object_put(offer);
	json_object_put(reply);
	return monitor;
}

void exchange_leave(struct monitor *monitor)
{
	fabric_verbs_link.close(monitor->link);
	close(monitor->fd);
}

struct gs_error *exchange_read(const struct monitor *monitor, uint64_t offset, void *buf,
			       size_t size)
{
	struct fabric_piece piece = { .offset = offset, .buf = buf, .size = size };

	return fabric_verbs_link.read(monitor->link, &piece, 1);
}

struct gs_error *exchange_write(const struct monitor *monitor, uint64_t offset, const void *buf,
				size_t size)
{
	return fabric_verbs_link.write(monitor->link, offset, buf, size);
}
