/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a running service says of itself: at the socket DIR/status of its state's directory (state.h), one JSON object for
 * each connection.
 */
#ifndef GS_CLI_STATUS_H
#define GS_CLI_STATUS_H

#include <gpusentinel/error.h>

#include "cli/serve.h"
#include "grass/control.h"

/** What the answer is made of; all of it the service's. */
struct status {
	struct serve *serve;
	struct grass_server *server;
	const struct fabric_server_ops *fabric;
	const struct gs_mailbox_header *header;
	/** Nanoseconds since the epoch. */
	uint64_t since_ns;
	/** Where it listens; negative: nowhere. */
	int socket;
	char *path;
};

/** Listen in @p directory, which is the service's own. End it with status_close(). */
struct gs_error *status_open(struct status *status, const char *directory);
/** Somebody has come: answer. Takes a second at most. */
void status_answer(struct status *status);
void status_close(struct status *status);

#endif
