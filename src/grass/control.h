/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The control port: where a monitor proves who it is and is handed its way to the mailbox, while the watched
 * system lives. TLS 1.3 with certificates of both sides; docs/grass-protocol.md tells what is said.
 *
 * What is handed over lasts: neither the connection nor the system behind it is needed again. Only a monitor that says so,
 * or that comes back, or whose place is wanted while its connection is broken, loses its access; and of a name that has several
 * places, the one that others need (places.h).
 */
#ifndef GS_GRASS_CONTROL_H
#define GS_GRASS_CONTROL_H

#include <stdbool.h>

#include <gpusentinel/engine.h>
#include <gpusentinel/error.h>

#include "grass/fabric.h"
#include "mailbox/client.h"

/** TCP port of hosts that are watched. */
#define GRASS_PORT 7411
/** Version of what is said on it. */
#define GRASS_PROTOCOL 1

/** Files in PEM. */
struct grass_identity {
	/** Of the authority that has signed all certificates. */
	const char *ca;
	const char *certificate, *key;
};

/*
 * The watched side.
 */

struct grass_server;

struct grass_server_options {
	/** Set to sizeof(struct grass_server_options). */
	size_t size;
	/** "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT"; none: all addresses. */
	const char *const *listen;
	size_t listen_count;
	struct grass_identity identity;
	/** What is watched, for people; monitors know hosts by the names in their certificates. */
	const char *host;
	const struct fabric_server_ops *fabric;
	/** Of the fabric; may be NULL. */
	const char *device;
	/** Lasts longer than the server. */
	const struct gs_mailbox_export *mailbox;
	/** Whose symbols monitors are to know; NULL: none. Used before grass_server_start() returns only. */
	struct gs_kernel *kernel;
	/** Receives lines about monitors that come, go, and do what they should not; from a thread of the server. */
	void (*log)(void *arg, const char *line);
	void *arg;
};

/** Listen, and serve in a thread of its own. */
struct gs_error *grass_server_start(const struct grass_server_options *options,
				    struct grass_server **ret);
/** The port of the first address, e.g. when it was to be any (":0"). */
uint16_t grass_server_port(const struct grass_server *server);
/** A monitor that has access. */
struct grass_monitor {
	char name[64];
	/** The connection by which it came is there; its access does not depend on it. */
	bool connected;
};
/** Those that have access now: @p list has room for all places (GS_MAILBOX_MONITORS). @return how many. */
size_t grass_server_monitors(struct grass_server *server, struct grass_monitor *list);
/** End all sessions. NULL is allowed. */
void grass_server_stop(struct grass_server *server);

/*
 * The monitoring side. A session belongs to one thread at a time.
 */

struct grass_session;

struct grass_host {
	/** Set to sizeof(struct grass_host). */
	size_t size;
	/** Name in the host's certificate. */
	const char *name;
	/** Where it is: address or DNS name; NULL: @ref name. */
	const char *address;
	/** 0: GRASS_PORT. */
	uint16_t port;
	struct grass_identity identity;
	const struct fabric_link_ops *fabric;
	/** Of the fabric; may be NULL. */
	const char *device;
	/** How long connecting, a read, a write and an answer may take each; 0: five, two and five seconds. */
	uint64_t timeout_ns;
	/** Fetch the kernel's symbols, too: some megabytes. */
	bool symbols;
};

/**
 * Become a monitor of @p host.
 * @return GS_ERROR_OTHER: no way to it, a certificate that does not fit, refused.
 */
struct gs_error *grass_connect(const struct grass_host *host, struct grass_session **ret);
/** @param bye Give the place back, which wants a living system; else it stays, for when this monitor comes back. */
void grass_session_close(struct grass_session *session, bool bye);

struct mailbox_reader *grass_session_reader(struct grass_session *session);
struct mailbox_client *grass_session_client(struct grass_session *session);
/** Index in the mailbox. */
uint32_t grass_session_monitor(const struct grass_session *session);
/** The link itself, for who reads many pieces at once. */
const struct fabric_link_ops *grass_session_fabric(const struct grass_session *session,
						   struct fabric_link **ret);

/**
 * Name @p address as gs_kernel_symbolize() does: "name+0xoffset/0xsize". Without symbols, "0x...".
 */
void grass_session_symbolize(const struct grass_session *session, uint64_t address, char *buf,
			     size_t len);

#endif
