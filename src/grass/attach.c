// SPDX-License-Identifier: Apache-2.0
// Letting monitors in. A kernel that is asked for the way to an address waits for seconds if nobody is there, and nobody else is
// to wait for that: each has a thread, of which there are no more than places.
#include <stdlib.h>
#include <unistd.h>

#include "grass/server.h"
#include "util/cleanup.h"

struct attachment {
	struct grass_server *server;
	pthread_t thread;
	uint64_t slot, share, nonce;
	struct json_object *offer, *reply;
	// What has come of it, once it is done.
	struct fabric_session *access;
	struct gs_error *err;
	bool done;
};

static void destroy(struct attachment *attachment)
{
	if (!attachment)
		return;
	json_object_put(attachment->offer);
	json_object_put(attachment->reply);
	gs_error_destroy(attachment->err);
	free(attachment);
}

static void cleanup_attachment(struct attachment **attachment)
{
	destroy(*attachment);
}

static void *attach(void *arg)
{
	struct attachment *attachment = arg;
	struct grass_server *server = attachment->server;

	attachment->err = server->options.fabric->attach(server->fabric, attachment->slot,
							 attachment->share, attachment->offer,
							 attachment->reply, &attachment->access);
	__atomic_store_n(&attachment->done, true, __ATOMIC_RELEASE);
	if (write(server->wake, &(uint64_t){ 1 }, sizeof(uint64_t)) != sizeof(uint64_t))
		abort();
	return NULL;
}

struct gs_error *server_attach(struct grass_server *server, struct connection *c, int place,
			       const struct message_open *open)
{
	const struct gs_mailbox_header *header = server->options.mailbox->header;
	_cleanup_(cleanup_attachment) struct attachment *attachment =
		calloc(1, sizeof(*attachment));

	if (!attachment)
		return &gs_enomem;
	attachment->server = server;
	attachment->share =
		gs_monitor_share(&header->requests, header->monitor_count, GS_MAILBOX_SLOT);
	attachment->slot = header->requests.offset + (uint64_t)place * attachment->share;
	attachment->nonce = open->nonce;
	attachment->reply = json_object_new_object();
	// The message that it is part of ends before.
	if (!attachment->reply || json_object_deep_copy(open->offer, &attachment->offer, NULL))
		return &gs_enomem;

	int result = pthread_create(&attachment->thread, NULL, attach, attachment);

	if (result)
		return gs_error_errno(GS_ERROR_OTHER, result, "no thread for a monitor");
	server->attachments[place] = no_cleanup_ptr(attachment);
	c->place = place;
	c->attaching = true;
	return NULL;
}

static struct connection *connection_of(struct grass_server *server, int place)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = server->connections[i];

		if (c && c->attaching && c->place == place)
			return c;
	}
	return NULL;
}

// It is done.
static struct connection *finish(struct grass_server *server, int place)
{
	_cleanup_(cleanup_attachment) struct attachment *attachment = server->attachments[place];
	struct connection *c = connection_of(server, place);
	struct place *at = &server->places.list[place];

	pthread_join(attachment->thread, NULL);
	server->attachments[place] = NULL;
	at->pending = false;
	at->access = attachment->err ? NULL : attachment->access;
	if (c)
		c->attaching = false;
	// Who has gone meanwhile does not know its keys.
	if (!c || attachment->err) {
		if (!c)
			server_say(server, "monitor %s: has gone before it was let in", at->name);
		places_leave(&server->places, (uint32_t)place);
		if (!c)
			return NULL;
		c->place = -1;
		server_refuse(server, c, attachment->err->message);
		return c;
	}
	at->connection = c->fd;
	server_answer_open(server, c, attachment->nonce, attachment->reply);
	return c;
}

struct connection *server_attached(struct grass_server *server, bool *any_ret)
{
	*any_ret = false;
	for (int i = 0; i < PLACES_MAX; i++) {
		struct attachment *attachment = server->attachments[i];

		if (attachment && __atomic_load_n(&attachment->done, __ATOMIC_ACQUIRE)) {
			*any_ret = true;
			return finish(server, i);
		}
	}
	return NULL;
}

void server_end_attachments(struct grass_server *server)
{
	for (int i = 0; i < PLACES_MAX; i++) {
		if (server->attachments[i])
			finish(server, i);
	}
}
