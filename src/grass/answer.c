// SPDX-License-Identifier: Apache-2.0
// What monitors say on the control port, and what they are told.
#include <string.h>

#include "grass/server.h"
#include "util/cleanup.h"
#include "util/clock.h"

// Send an object, and bytes behind it. False: no memory.
static bool queue(struct connection *c, struct json_object *object, const void *more,
		  size_t more_size)
{
	size_t size, left = c->out_size - c->out_sent;
	_cleanup_free_ char *line = message_line(object, &size);
	char *grown = line ? malloc(left + size + more_size) : NULL;

	if (!grown)
		return false;
	if (left)
		memcpy(grown, c->out + c->out_sent, left);
	memcpy(grown + left, line, size);
	if (more_size)
		memcpy(grown + left + size, more, more_size);
	free(c->out);
	c->out = grown;
	c->out_size = left + size + more_size;
	c->out_sent = 0;
	c->deadline = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * SECOND;
	return true;
}

void server_refuse(struct grass_server *server, struct connection *c, const char *why)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	server_say(server, "monitor %s at %s: refused: %s", c->name, c->peer, why);
	c->closing = true;
	message_add_string(object, "error", why);
	if (!queue(c, object, NULL, 0))
		c->out_size = c->out_sent = 0;
}

static void displace(struct grass_server *server, int place)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = server->connections[i];

		if (c && c->place == place) {
			c->place = -1;
			c->closing = true;
		}
	}
}

static void answer_open(struct grass_server *server, struct connection *c,
			const struct message_open *open)
{
	char lost[PLACE_NAME_MAX];

	if (c->place >= 0) {
		server_refuse(server, c, "this connection has a session already");
		return;
	}
	if (strcmp(open->fabric, server->options.fabric->name) != 0) {
		char why[64];

		snprintf(why, sizeof(why), "this host serves the fabric %s",
			 server->options.fabric->name);
		server_refuse(server, c, why);
		return;
	}

	int place = places_take(&server->places, c->name, lost);

	if (place < 0) {
		server_refuse(server, c, "all places are taken by other monitors");
		return;
	}
	displace(server, place);
	if (*lost && strcmp(lost, c->name) != 0)
		server_say(server, "monitor %s: its place is given to %s", lost, c->name);

	struct gs_error *err = server_attach(server, c, place, open);

	if (err) {
		places_leave(&server->places, (uint32_t)place);
		server_refuse(server, c, err->message);
		gs_error_destroy(err);
	}
}

void server_answer_open(struct grass_server *server, struct connection *c, uint64_t nonce,
			struct json_object *reply)
{
	const struct gs_mailbox_export *mailbox = server->options.mailbox;
	_cleanup_json_ struct json_object *object = json_object_new_object();

	json_object_object_add(object, "reply", json_object_get(reply));
	message_add_number(object, "grass", GRASS_PROTOCOL);
	message_add_string(object, "host", server->host);
	message_add_number(object, "monitor", (uint64_t)c->place);
	message_add_bytes(object, "nonce", &nonce, sizeof(nonce));
	message_add_bytes(object, "instance", mailbox->header->instance,
			  sizeof(mailbox->header->instance));
	message_add_number(object, "size", mailbox->size);
	server_say(server, "monitor %s at %s: has place %d", c->name, c->peer, c->place);
	if (!queue(c, object, NULL, 0))
		c->closing = true;
}

static void answer_symbols(struct grass_server *server, struct connection *c)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!server->symbols || c->place < 0 || c->out_size != c->out_sent) {
		server_refuse(server, c, "no symbols for you now");
		return;
	}
	message_add_number(object, "symbols", server->symbols_size);
	message_add_number(object, "text", server->symbols_text_size);
	if (!queue(c, object, server->symbols, server->symbols_size))
		c->closing = true;
}

void server_answer(struct grass_server *server, struct connection *c, const char *line, size_t size)
{
	_cleanup_json_ struct json_object *object = message_parse(line, size);
	struct message_open open;
	const char *what;

	if (!object || !message_string(object, "do", 16, &what)) {
		server_refuse(server, c, "this is no message");
	} else if (!strcmp(what, "open")) {
		_cleanup_error_ struct gs_error *err = message_read_open(object, &open);

		if (err)
			server_refuse(server, c, err->message);
		else
			answer_open(server, c, &open);
	} else if (!strcmp(what, "symbols")) {
		answer_symbols(server, c);
	} else if (!strcmp(what, "close")) {
		if (c->place >= 0) {
			places_leave(&server->places, (uint32_t)c->place);
			server_say(server, "monitor %s at %s: has left", c->name, c->peer);
		}
		c->place = -1;
		c->closing = true;
	} else {
		server_refuse(server, c, "this host does not know what that is");
	}
}
