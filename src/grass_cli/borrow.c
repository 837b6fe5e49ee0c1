// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/borrow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/cleanup.h"

struct borrow {
	int fd;
	struct mailbox_reader *reader;
	struct mailbox_client *client;
};

bool hold_receive(int fd, void *buf, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = recv(fd, (char *)buf + done, size - done, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

bool hold_send(int fd, const void *buf, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = send(fd, (const char *)buf + done, size - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

void hold_set_timeout(int fd, uint64_t ns)
{
	struct timeval time = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_usec = (suseconds_t)(ns / 1000 % 1000000),
	};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
}

static struct gs_error *gone(void)
{
	return gs_error_create(GS_ERROR_OTHER, "grass hold does not answer");
}

// The answer, of which @size bytes are wanted; shorter ones end with NUL if @text.
static struct gs_error *ask(struct borrow *borrow, const struct hold_request *request,
			    const void *data, void *ret, size_t size, bool text)
{
	struct hold_answer answer;
	char why[512];

	if (!hold_send(borrow->fd, request, sizeof(*request)) ||
	    (data && !hold_send(borrow->fd, data, request->size)) ||
	    !hold_receive(borrow->fd, &answer, sizeof(answer)))
		return gone();
	if (answer.failed) {
		size_t length = answer.size < sizeof(why) ? answer.size : sizeof(why) - 1;

		if (!hold_receive(borrow->fd, why, length))
			return gone();
		why[length] = 0;
		return gs_error_create(GS_ERROR_OTHER, "%s", why);
	}
	if (text ? answer.size >= size : answer.size != size)
		return gone();
	if (!hold_receive(borrow->fd, ret, answer.size))
		return gone();
	if (text)
		((char *)ret)[answer.size] = 0;
	return NULL;
}

static struct gs_error *read_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct gs_error *err = NULL;

	for (size_t done = 0; done < size && !err;) {
		size_t part = size - done < HOLD_SIZE_MAX ? size - done : HOLD_SIZE_MAX;
		struct hold_request request = {
			.op = HOLD_READ,
			.size = (uint32_t)part,
			.offset = offset + done,
		};

		err = ask(arg, &request, NULL, (char *)buf + done, part, false);
		done += part;
	}
	return err;
}

static struct gs_error *write_mailbox(void *arg, uint64_t offset, const void *buf, size_t size)
{
	struct hold_request request = {
		.op = HOLD_WRITE,
		.size = (uint32_t)size,
		.offset = offset,
	};

	return ask(arg, &request, buf, NULL, 0, false);
}

void borrow_symbolize(struct borrow *borrow, uint64_t address, char *buf, size_t len)
{
	struct hold_request request = { .op = HOLD_SYMBOL, .offset = address };
	struct gs_error *err = ask(borrow, &request, NULL, buf, len, true);

	if (err)
		snprintf(buf, len, "0x%" PRIx64, address);
	gs_error_destroy(err);
}

static struct gs_error *connect_to(const char *path, int *ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return gs_error_create(GS_ERROR_USAGE, "%s is too long for a socket", path);
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no grass hold there", path);
	*ret = no_cleanup_fd(fd);
	return NULL;
}

static struct gs_error *be_welcomed(const struct borrow *borrow, const char *host,
				    uint32_t *monitor_ret)
{
	struct hold_hello hello = { .magic = HOLD_MAGIC };
	struct hold_welcome welcome;

	snprintf(hello.host, sizeof(hello.host), "%s", host);
	if (!hold_send(borrow->fd, &hello, sizeof(hello)) ||
	    !hold_receive(borrow->fd, &welcome, sizeof(welcome)))
		return gone();
	welcome.text[sizeof(welcome.text) - 1] = 0;
	if (welcome.refused)
		return gs_error_create(GS_ERROR_OTHER, "%s", welcome.text);
	*monitor_ret = welcome.monitor;
	return NULL;
}

static void cleanup_borrow(struct borrow **borrow)
{
	borrow_close(*borrow);
}

struct gs_error *borrow_open(const char *path, const char *host, uint64_t timeout_ns,
			     struct borrow **ret)
{
	_cleanup_(cleanup_borrow) struct borrow *borrow = calloc(1, sizeof(*borrow));
	uint32_t monitor;

	if (!borrow)
		return &gs_enomem;
	borrow->fd = -1;

	struct gs_error *err = connect_to(path, &borrow->fd);

	if (err)
		return err;
	// Behind it stands a link that has time-outs of its own.
	hold_set_timeout(borrow->fd, 2 * timeout_ns);
	err = be_welcomed(borrow, host, &monitor);
	if (!err)
		err = mailbox_reader_create(read_mailbox, borrow, &borrow->reader);
	if (!err)
		err = mailbox_client_create(borrow->reader, write_mailbox, borrow, monitor,
					    &borrow->client);
	if (err)
		return gs_error_prefix(err, "%s", host);
	mailbox_client_set_timeout(borrow->client, timeout_ns);
	*ret = no_cleanup_ptr(borrow);
	return NULL;
}

void borrow_close(struct borrow *borrow)
{
	if (!borrow)
		return;
	mailbox_client_destroy(borrow->client);
	mailbox_reader_destroy(borrow->reader);
	if (borrow->fd >= 0)
		close(borrow->fd);
	free(borrow);
}

struct mailbox_reader *borrow_reader(struct borrow *borrow)
{
	return borrow->reader;
}

struct mailbox_client *borrow_client(struct borrow *borrow)
{
	return borrow->client;
}
