// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/lend.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/range.h"

#define SECOND UINT64_C(1000000000)
// A borrower that asks for nothing for so long loses what it has.
#define IDLE_NS (60 * SECOND)

bool lend_hear(int fd, char name_ret[HOST_NAME_MAX_SIZE])
{
	static const char magic[8] = HOLD_MAGIC;
	struct hold_hello hello;

	hold_set_timeout(fd, 5 * SECOND);
	if (!hold_receive(fd, &hello, sizeof(hello)) ||
	    memcmp(hello.magic, magic, sizeof(magic)) != 0 ||
	    !memchr(hello.host, 0, sizeof(hello.host)))
		return false;
	strcpy(name_ret, hello.host);
	return true;
}

void lend_refuse(int fd, const char *why)
{
	struct hold_welcome welcome = { .refused = 1 };

	snprintf(welcome.text, sizeof(welcome.text), "%s", why);
	hold_send(fd, &welcome, sizeof(welcome));
}

static bool answer(int fd, const void *data, size_t size)
{
	struct hold_answer head = { .size = (uint32_t)size };

	return hold_send(fd, &head, sizeof(head)) && hold_send(fd, data, size);
}

static bool refuse(int fd, const char *why)
{
	struct hold_answer head = { .failed = 1, .size = (uint32_t)strlen(why) };

	return hold_send(fd, &head, sizeof(head)) && hold_send(fd, why, head.size);
}

// A part of the mailbox's memory, read or written.
static struct gs_error *move(struct host *host, const struct hold_request *request, void *data)
{
	struct fabric_link *link;
	const struct fabric_link_ops *fabric = grass_session_fabric(host->session, &link);
	struct fabric_piece piece = { request->offset, data, request->size };

	if (!range_inside(request->offset, request->size, 0, host->header->size))
		return gs_error_create(GS_ERROR_OTHER, "nothing in the mailbox lies there");
	return request->op == HOLD_READ ? fabric->read(link, &piece, 1)
					: fabric->write(link, request->offset, data, request->size);
}

// False: the borrower is done with, or the link is.
static bool serve_one(int fd, struct host *host, void *data)
{
	struct hold_request request;
	char name[512];

	if (!hold_receive(fd, &request, sizeof(request)) || request.size > HOLD_SIZE_MAX)
		return false;
	if (request.op == HOLD_SYMBOL) {
		host_symbolize(host, request.offset, name, sizeof(name));
		return answer(fd, name, strlen(name));
	}
	if (request.op != HOLD_READ && request.op != HOLD_WRITE)
		return false;
	if (request.op == HOLD_WRITE && !hold_receive(fd, data, request.size))
		return false;

	_cleanup_error_ struct gs_error *err = move(host, &request, data);

	if (err) {
		refuse(fd, err->message);
		return false;
	}
	return answer(fd, data, request.op == HOLD_READ ? request.size : 0);
}

void lend_host(int fd, struct host *host, void *data)
{
	struct hold_welcome welcome = { .monitor = grass_session_monitor(host->session) };

	if (!hold_send(fd, &welcome, sizeof(welcome)))
		return;
	hold_set_timeout(fd, IDLE_NS);
	while (serve_one(fd, host, data))
		;
}
