/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A watched host, and what can be asked of it without its operating system taking part.
 */
#ifndef GS_GRASS_CLI_HOST_H
#define GS_GRASS_CLI_HOST_H

#include "cli/rows.h"
#include "grass/control.h"
#include "grass_cli/borrow.h"
#include "grass_cli/hosts.h"
#include "mailbox/client.h"

/** How hosts are reached. */
struct host_options {
	struct grass_identity identity;
	const struct fabric_link_ops *fabric;
	/** NIC of this side; NULL: the first one. */
	const char *device;
	/** How long to wait for each answer. */
	uint64_t timeout_ns;
	/** Socket of a program that lends its sessions (borrow.h); NULL: one is opened. */
	const char *via;
};

/** Zero-initialise; end it with host_close(). */
struct host {
	const struct host_address *address;
	/** One of these. */
	struct grass_session *session;
	struct borrow *borrow;
	struct mailbox_reader *reader;
	const struct gs_mailbox_header *header;
	struct mailbox_client *client;
	uint64_t timeout_ns;
};

/**
 * Open a session.
 * @param symbols Fetch its kernel's, for host_symbolize(). @return GS_ERROR_OTHER: it cannot be reached, or refuses.
 */
struct gs_error *host_open(struct host *host, const struct host_address *address,
			   const struct host_options *options, bool symbols);
/** @param bye Give the monitor's place back; else it stays for when this monitor comes back. */
void host_close(struct host *host, bool bye);

/** Name of an address of the host's kernel, for format_symbolize_fn; @p arg is the struct host. */
void host_symbolize(void *arg, uint64_t address, char *buf, size_t len);

/** Whether a detector has this row now and is to run. */
static inline bool host_runs(const struct gs_mailbox_detector *row)
{
	return row->state == GS_MAILBOX_WAITING || row->state == GS_MAILBOX_RUNNING;
}

/** Find a detector by name. GS_ERROR_DETECTOR: the host runs none of that name. */
struct gs_error *host_find_detector(const struct host *host, const char *name, uint32_t *index_ret,
				    struct gs_mailbox_detector *ret);

/**
 * Have a detector run now, and keep the rows of that run.
 * @return GS_ERROR_INCOMPLETE with what was found in @p rows, or an error without rows.
 */
struct gs_error *host_run(struct host *host, const char *name, struct rows *rows);

#endif
