/* SPDX-License-Identifier: Apache-2.0 */
// The control port, watched side, between its two files: connections (server.c), and what is answered on them (answer.c).
#ifndef GS_GRASS_SERVER_H
#define GS_GRASS_SERVER_H

#include <pthread.h>

#include "grass/listen.h"
#include "grass/message.h"
#include "grass/places.h"
#include "grass/tls.h"

#define SECOND UINT64_C(1000000000)

enum {
	CONNECTIONS = 32,
	LISTENERS = 16,
	// A peer that has not said who it is, or does not take its answer, within so many seconds is left.
	PATIENCE_S = 5,
	// How long the other end may take to hear that it is over.
	DRAIN_MS = 1000,
	// Lines that are logged in a second.
	LINES = 20,
};

struct connection {
	int fd;
	SSL *ssl;
	char peer[LISTEN_NAME_MAX];
	bool shaken, closing, draining;
	// What OpenSSL waits for: POLLIN, POLLOUT.
	short wants;
	// When it is left; 0: it may stay.
	uint64_t deadline;
	char name[PLACE_NAME_MAX];
	// Negative: none. @ref attaching: it has that, but no access yet, and nothing more is taken from it until then.
	int place;
	bool attaching;
	char in[MESSAGE_SIZE_MAX];
	size_t in_used;
	char *out;
	size_t out_size, out_sent;
};

struct attachment;

struct grass_server {
	struct grass_server_options options;
	char *host;
	SSL_CTX *tls;
	struct fabric_server *fabric;
	struct places places;
	// Of places that are pending.
	struct attachment *attachments[PLACES_MAX];
	int listeners[LISTENERS];
	size_t listener_count;
	struct connection *connections[CONNECTIONS];
	uint8_t *symbols;
	size_t symbols_size, symbols_text_size;
	int wake;
	bool quit;
	pthread_t thread;
	bool has_thread;
	// What others may know of the places, which are the thread's own.
	pthread_mutex_t lock;
	struct grass_monitor monitors[PLACES_MAX];
	size_t monitor_count;
	// Of the second that began at @ref lines_ns.
	uint64_t lines_ns;
	unsigned int lines, lines_left_out;
};

// Tell whoever started the server; no more than so many lines a second.
void server_say(struct grass_server *server, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

// A line that a peer with a name has said, of @size bytes without its end: the answer is queued.
void server_answer(struct grass_server *server, struct connection *c, const char *line,
		   size_t size);
// Queue why, and end once that is sent.
void server_refuse(struct grass_server *server, struct connection *c, const char *why);
// What it waited for has come; the answer is queued.
void server_answer_open(struct grass_server *server, struct connection *c, uint64_t nonce,
			struct json_object *reply);

// Let a connection's monitor in, in a thread: the fabric may wait for the kernel, which looks for the way to the monitor.
struct gs_error *server_attach(struct grass_server *server, struct connection *c, int place,
			       const struct message_open *open);
// The first monitor that a thread has done with, which has its answer then; NULL: none is. @any_ret: one was, whatever has
// become of its connection.
struct connection *server_attached(struct grass_server *server, bool *any_ret);
// Wait for all threads.
void server_end_attachments(struct grass_server *server);

#endif
