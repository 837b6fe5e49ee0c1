// SPDX-License-Identifier: Apache-2.0
// The socket of grass hold. The first byte says who is spoken to, the lender (even) or a borrower, and with bit 1 set, that the
// other end has begun as it should: a hello, or a welcome and a mailbox's header. What follows is all that it says.
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "grass_cli/lend.h"
#include "mailbox/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

// What is lent: a mailbox of which there is no byte too many.
static struct gs_mailbox_header header;
static uint8_t *mailbox;
static uint8_t *room;

// The other end, in a thread: says all, then takes what it is told.
static struct {
	const uint8_t *begin, *data;
	size_t begin_size, size;
	// Negative: who connects.
	int fd;
	sem_t start, end;
} peer;

static char path[64];
static int listener;

static void remove_socket(void)
{
	unlink(path);
}

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void *other_end(void *arg)
{
	uint8_t heard[65536];

	for (;;) {
		sem_wait(&peer.start);

		int fd = peer.fd < 0 ? accept(listener, NULL, NULL) : peer.fd;

		must(fd >= 0);
		if (hold_send(fd, peer.begin, peer.begin_size))
			hold_send(fd, peer.data, peer.size);
		shutdown(fd, SHUT_WR);
		while (recv(fd, heard, sizeof(heard), 0) > 0)
			;
		close(fd);
		sem_post(&peer.end);
	}
	return arg;
}

/*
 * Of the session, and of hosts: what the lender uses.
 */

static void check(uint64_t offset, size_t size)
{
	must(offset <= header.size && size <= header.size - offset);
}

static struct gs_error *read_mailbox(struct fabric_link *link, const struct fabric_piece *pieces,
				     size_t count)
{
	(void)link;
	for (size_t i = 0; i < count; i++) {
		check(pieces[i].offset, pieces[i].size);
		memcpy(pieces[i].buf, mailbox + pieces[i].offset, pieces[i].size);
	}
	return NULL;
}

static struct gs_error *write_mailbox(struct fabric_link *link, uint64_t offset, const void *buf,
				      size_t size)
{
	(void)link;
	check(offset, size);
	if (offset % 8 || size % 8)
		return gs_error_create(GS_ERROR_USAGE, "not in words");
	memcpy(mailbox + offset, buf, size);
	return NULL;
}

static const struct fabric_link_ops fabric = { .read = read_mailbox, .write = write_mailbox };

const struct fabric_link_ops *grass_session_fabric(const struct grass_session *session,
						   struct fabric_link **ret)
{
	(void)session;
	*ret = NULL;
	return &fabric;
}

uint32_t grass_session_monitor(const struct grass_session *session)
{
	(void)session;
	return 3;
}

void host_symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "0x%lx", (unsigned long)address);
}

static void start_peer(int fd, const void *begin, size_t begin_size, const uint8_t *data,
		       size_t size)
{
	peer.fd = fd;
	peer.begin = begin;
	peer.begin_size = begin_size;
	peer.data = data;
	peer.size = size;
	sem_post(&peer.start);
}

static void lend(bool hello, const uint8_t *data, size_t size)
{
	static const struct hold_hello proper = { HOLD_MAGIC, "web1" };
	struct host host = { .header = &header };
	char name[HOST_NAME_MAX_SIZE];
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	start_peer(fds[1], &proper, hello ? sizeof(proper) : 0, data, size);
	if (lend_hear(fds[0], name)) {
		must(strlen(name) < sizeof(name));
		lend_host(fds[0], &host, room);
	} else {
		lend_refuse(fds[0], "no");
	}
	close(fds[0]);
	sem_wait(&peer.end);
}

static void borrow(bool welcome, const uint8_t *data, size_t size)
{
	static struct {
		struct hold_welcome welcome;
		struct hold_answer answer;
		struct gs_mailbox_header header;
	} __attribute__((packed)) proper = { .welcome.monitor = 3, .answer.size = sizeof(header) };
	struct gs_ping_answer pong;
	struct borrow *one;
	char name[64];

	proper.header = header;
	start_peer(-1, &proper, welcome ? sizeof(proper) : 0, data, size);

	struct gs_error *err = borrow_open(path, "web1", UINT64_C(1000000000), &one);

	if (!err) {
		borrow_symbolize(one, 0xffffffff81000000, name, sizeof(name));
		must(memchr(name, 0, sizeof(name)));
		gs_error_destroy(mailbox_client_ping(borrow_client(one), &pong));
		borrow_close(one);
	}
	gs_error_destroy(err);
	sem_wait(&peer.end);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint64_t slots[] = { 64, 64 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;

	(void)argc;
	(void)argv;
	mailbox_layout(&header, GS_MAILBOX_CPU, slots);
	header.instance[0] = 7;
	header.instance[1] = 8;
	mailbox_seal_header(&header);
	mailbox = calloc(1, header.size);
	room = malloc(HOLD_SIZE_MAX);
	must(mailbox && room);
	memcpy(mailbox, &header, sizeof(header));
	snprintf(path, sizeof(path), "/tmp/fuzz-hold-%d", getpid());
	unlink(path);
	strcpy(address.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	     listen(listener, 1) == 0);
	atexit(remove_socket);
	sem_init(&peer.start, 0, 0);
	sem_init(&peer.end, 0, 0);
	must(pthread_create(&thread, NULL, other_end, NULL) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (*data & 1)
		borrow(*data & 2, data + 1, size - 1);
	else
		lend(*data & 2, data + 1, size - 1);
	return 0;
}
