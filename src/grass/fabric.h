/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How a monitor reaches the mailbox of another machine. Once its two ends know each other, a fabric moves bytes without
 * any program on the watched side: RDMA (verbs.c), or shared memory on one machine (shm.c), which stands in for it where
 * no NIC is.
 *
 * The ends learn of each other through the control port (control.h), which carries a JSON object each way: the monitor's
 * offer, and the watched side's reply.
 */
#ifndef GS_GRASS_FABRIC_H
#define GS_GRASS_FABRIC_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/engine.h>
#include <gpusentinel/error.h>

struct json_object;

/*
 * The watched side.
 */

/** The mailbox, made accessible for monitors. */
struct fabric_server;
/** One monitor's access. */
struct fabric_session;

struct fabric_server_ops {
	/** "verbs", "shm": what an offer calls "fabric". */
	const char *name;
	/**
	 * @param device Name of the NIC, and behind a '/' its port, e.g. "mlx5_0/1"; NULL: the first one that is up.
	 * @param mailbox Lasts longer than the server.
	 */
	struct gs_error *(*open)(const char *device, const struct gs_mailbox_export *mailbox,
				 struct fabric_server **ret);
	/** After the last session. */
	void (*close)(struct fabric_server *server);
	/**
	 * Let a monitor in: it may read the mailbox and write [@p slot, @p slot + @p slot_size) of it, nothing else.
	 * @param offer What the monitor's fabric says of itself; hostile. @param reply Gets what the monitor needs.
	 */
	struct gs_error *(*attach)(struct fabric_server *server, uint64_t slot, uint64_t slot_size,
				   struct json_object *offer, struct json_object *reply,
				   struct fabric_session **ret);
	/** From now on that monitor gets at nothing. */
	void (*detach)(struct fabric_session *session);
};

/*
 * The monitoring side. Calls are made from one thread at a time for each link.
 */

struct fabric_link;

/** Bytes of the mailbox to be read. */
struct fabric_piece {
	/** From the start of the mailbox. */
	uint64_t offset;
	void *buf;
	size_t size;
};

struct fabric_link_ops {
	const char *name;
	/** Prepare one end, and say in @p offer what the other one needs. @p device: as above. */
	struct gs_error *(*open)(const char *device, struct json_object *offer,
				 struct fabric_link **ret);
	/** The watched side's reply; hostile. After this, bytes can be moved. */
	struct gs_error *(*connect)(struct fabric_link *link, struct json_object *reply);
	void (*close)(struct fabric_link *link);
	/** Read all pieces, which are under way together; in any order. @return GS_ERROR_OTHER if the other end is gone. */
	struct gs_error *(*read)(struct fabric_link *link, const struct fabric_piece *pieces,
				 size_t count);
	/**
	 * Begin to read: the bytes are there when a later read() or finish() has returned without an error. What @p pieces
	 * points to may go, but the buffers stay until then, or until one of them has returned an error.
	 */
	struct gs_error *(*start)(struct fabric_link *link, const struct fabric_piece *pieces,
				  size_t count);
	/**
	 * Memory that the NIC writes to by itself: what is read into it is not copied. It is one piece, the link's, and stays
	 * until the next call for more, or until the end. NULL: any memory is as good.
	 */
	struct gs_error *(*buffer)(struct fabric_link *link, size_t size, void **ret);
	/** Wait for all that has been started. */
	struct gs_error *(*finish)(struct fabric_link *link);
	/** As mailbox_write_fn (mailbox/client.h): arrives behind what was written before, ahead of what is read after. */
	struct gs_error *(*write)(struct fabric_link *link, uint64_t offset, const void *buf,
				  size_t size);
	/** Bytes of the mailbox, after connect. */
	uint64_t (*size)(const struct fabric_link *link);
	/** How long a read or write may take before the other end counts as gone; at first two seconds. */
	void (*set_timeout)(struct fabric_link *link, uint64_t ns);
};

extern const struct fabric_server_ops fabric_verbs_server, fabric_shm_server;
extern const struct fabric_link_ops fabric_verbs_link, fabric_shm_link;

/** By name; NULL: there is none of that name. */
const struct fabric_server_ops *fabric_server_named(const char *name);
const struct fabric_link_ops *fabric_link_named(const char *name);

#endif
