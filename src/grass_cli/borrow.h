/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A session that another program of this machine, `grass hold`, has kept since the host was alive, and lends to one
 * program at a time over a socket: a dead host gives out no new one.
 *
 * Both ends are of one user and one build: what goes over the socket are these structures. The borrower says which host it
 * means and is welcomed or refused; then come requests, each of which is answered before the next one.
 */
#ifndef GS_GRASS_CLI_BORROW_H
#define GS_GRASS_CLI_BORROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grass_cli/hosts.h"
#include "mailbox/client.h"

#define HOLD_MAGIC "GSHOLD1\n"
/** Where it is, if nobody says otherwise. */
#define HOLD_SOCKET "/run/gpusentinel/grass.sock"
/** Bytes that are read or written at a time at most. */
#define HOLD_SIZE_MAX (4u << 20)

struct hold_hello {
	char magic[8];
	/** NUL-terminated. */
	char host[HOST_NAME_MAX_SIZE];
};

struct hold_welcome {
	/** 0, or the borrower is refused: @ref text says why. */
	uint32_t refused;
	/** Index of the monitor. */
	uint32_t monitor;
	char text[240];
};

enum hold_op {
	/** @ref hold_request.size bytes at @ref hold_request.offset of the mailbox are the answer. */
	HOLD_READ = 1,
	/** So many bytes follow. */
	HOLD_WRITE = 2,
	/** The name of the address @ref hold_request.offset is the answer. */
	HOLD_SYMBOL = 3,
};

struct hold_request {
	uint32_t op, size;
	uint64_t offset;
};

/** So many bytes follow: the answer, or why there is none. */
struct hold_answer {
	uint32_t failed, size;
};

struct borrow;

/**
 * Borrow the session with a host.
 * @param path Of the socket. @param timeout_ns How long each answer may take; somebody else may have it.
 */
struct gs_error *borrow_open(const char *path, const char *host, uint64_t timeout_ns,
			     struct borrow **ret);
/** Give it back. NULL is allowed. */
void borrow_close(struct borrow *borrow);

struct mailbox_reader *borrow_reader(struct borrow *borrow);
struct mailbox_client *borrow_client(struct borrow *borrow);
void borrow_symbolize(struct borrow *borrow, uint64_t address, char *buf, size_t len);

/** All @p size bytes over a socket whose time-outs are set; false: the other end is gone, or late. */
bool hold_receive(int fd, void *buf, size_t size);
bool hold_send(int fd, const void *buf, size_t size);
/** Set both time-outs. */
void hold_set_timeout(int fd, uint64_t ns);

#endif
