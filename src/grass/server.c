// SPDX-License-Identifier: Apache-2.0
// The control port, watched side: one thread polls all connections, and waits for none of them.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "grass/server.h"
#include "grass/symbols.h"
#include "util/cleanup.h"
#include "util/clock.h"

void server_say(struct grass_server *server, const char *format, ...)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	char line[512];
	va_list args;

	if (!server->options.log)
		return;
	if (now - server->lines_ns > SECOND) {
		unsigned int left_out = server->lines_left_out;

		server->lines_ns = now;
		server->lines = server->lines_left_out = 0;
		if (left_out) {
			snprintf(line, sizeof(line), "%u more lines about monitors left out",
				 left_out);
			server->options.log(server->options.arg, line);
		}
	}
	if (server->lines++ >= LINES) {
		server->lines_left_out++;
		return;
	}
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	server->options.log(server->options.arg, line);
}

static void end_connection(struct grass_server *server, size_t index)
{
	struct connection *c = server->connections[index];

	SSL_free(c->ssl);
	ERR_clear_error();
	close(c->fd);
	free(c->out);
	free(c);
	server->connections[index] = NULL;
}

// It is over, and nothing more is said; what the other end still says is taken, since closing a socket with something in it
// takes our last words, which say why, from the other end.
static void leave(struct grass_server *server, struct connection *c)
{
	// What it has been handed lasts.
	if (c->place >= 0 && !c->attaching) {
		server->places.list[c->place].connection = -1;
		server->places.list[c->place].broken_ns = clock_ns(CLOCK_MONOTONIC);
		server_say(server, "monitor %s at %s: the connection is broken, its access stays",
			   c->name, c->peer);
	}
	c->place = -1;
	c->attaching = false;
	if (c->shaken)
		SSL_shutdown(c->ssl);
	ERR_clear_error();
	shutdown(c->fd, SHUT_WR);
	c->draining = true;
	c->out_size = c->out_sent = 0;
	c->wants = POLLIN;
	c->deadline = clock_ns(CLOCK_MONOTONIC) + DRAIN_MS * (SECOND / 1000);
}

// What SSL_get_error() says of a call that has not done: false: the connection is over.
static bool may_go_on(struct grass_server *server, struct connection *c, int result)
{
	char reason[256];

	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		c->wants = POLLIN;
		return true;
	case SSL_ERROR_WANT_WRITE:
		c->wants = POLLOUT;
		return true;
	case SSL_ERROR_ZERO_RETURN:
		return false;
	default:
		tls_reason(c->ssl, reason, sizeof(reason));
		// After the handshake it is a link that broke, which end_connection() tells.
		if (!c->shaken)
			server_say(server, "%s: no monitor: %s", c->peer, reason);
		return false;
	}
}

static bool shake(struct grass_server *server, struct connection *c)
{
	ERR_clear_error();

	int result = SSL_accept(c->ssl);

	if (result != 1)
		return may_go_on(server, c, result);
	c->shaken = true;
	c->wants = POLLIN;
	if (!tls_peer_is(c->ssl, false)) {
		server_say(server, "%s: its certificate is no monitor's", c->peer);
		return false;
	}
	if (!tls_peer_name(c->ssl, c->name, sizeof(c->name))) {
		server_say(server, "%s: its certificate has no proper name", c->peer);
		return false;
	}
	return true;
}

static bool send_queued(struct grass_server *server, struct connection *c)
{
	while (c->out_sent < c->out_size) {
		ERR_clear_error();

		size_t left = c->out_size - c->out_sent;
		int result =
			SSL_write(c->ssl, c->out + c->out_sent, left > 65536 ? 65536 : (int)left);

		if (result <= 0)
			return may_go_on(server, c, result);
		c->out_sent += (size_t)result;
		// A peer that takes something has time again.
		c->deadline = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * SECOND;
	}
	c->wants = POLLIN;
	// Nothing is owed: who has a place may be silent for as long as it likes.
	if (c->place >= 0)
		c->deadline = 0;
	return !c->closing;
}

// Lines that are whole, until one has to wait.
static void take_lines(struct grass_server *server, struct connection *c)
{
	char *end;

	while (!c->closing && !c->attaching && (end = memchr(c->in, '\n', c->in_used))) {
		size_t size = (size_t)(end - c->in);

		server_answer(server, c, c->in, size);
		c->in_used -= size + 1;
		memmove(c->in, end + 1, c->in_used);
	}
	if (!c->closing && !c->attaching && c->in_used == sizeof(c->in))
		server_refuse(server, c, "the message is too long");
	// Nothing is taken from it until it is let in, and nothing is owed by it.
	if (c->attaching) {
		c->wants = 0;
		c->deadline = 0;
	}
}

static bool receive(struct grass_server *server, struct connection *c)
{
	while (!c->attaching) {
		ERR_clear_error();

		int result =
			SSL_read(c->ssl, c->in + c->in_used, (int)(sizeof(c->in) - c->in_used));

		if (result <= 0)
			return may_go_on(server, c, result);
		c->in_used += (size_t)result;
		take_lines(server, c);
		// Answers first: nobody makes us collect them.
		if (c->closing || c->out_size != c->out_sent)
			return send_queued(server, c);
	}
	return true;
}

// @return false: it is over.
static bool serve(struct grass_server *server, struct connection *c, short events)
{
	if (events & (POLLERR | POLLNVAL) || (c->attaching && events & POLLHUP))
		return false;
	if (c->draining)
		return recv(c->fd, c->in, sizeof(c->in), 0) > 0;
	if (!c->shaken && !shake(server, c))
		return false;
	if (!c->shaken)
		return true;
	if (c->out_sent < c->out_size) {
		if (!send_queued(server, c))
			return false;
		// What it said meanwhile may have been taken from the socket already.
		if (c->out_sent < c->out_size || !SSL_pending(c->ssl))
			return true;
	}
	return receive(server, c);
}

// A connection that others may have to make way for: its peer has not yet said who it is, or it is over.
static bool gives_way(const struct connection *c)
{
	return !c->shaken || c->draining;
}

// Where a new connection goes: the place of one that gives way, if none is free; CONNECTIONS: there is none.
static size_t find_room(struct grass_server *server)
{
	size_t oldest = CONNECTIONS;

	for (size_t i = 0; i < CONNECTIONS; i++) {
		const struct connection *c = server->connections[i];

		if (!c)
			return i;
		if (gives_way(c) &&
		    (oldest == CONNECTIONS || c->deadline < server->connections[oldest]->deadline))
			oldest = i;
	}
	if (oldest < CONNECTIONS)
		end_connection(server, oldest);
	return oldest;
}

static bool has_room(const struct grass_server *server)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (!server->connections[i] || gives_way(server->connections[i]))
			return true;
	}
	return false;
}

static void welcome(struct grass_server *server, int listener)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd = accept4(listener, (struct sockaddr *)&address, &length,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;

	size_t index = find_room(server);
	struct connection *c = index < CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;

	if (c)
		c->ssl = SSL_new(server->tls);
	if (!c || !c->ssl || SSL_set_fd(c->ssl, fd) != 1) {
		if (c)
			SSL_free(c->ssl);
		free(c);
		close(fd);
		return;
	}
	c->fd = fd;
	c->place = -1;
	c->wants = POLLIN;
	c->deadline = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * SECOND;
	listen_keep_alive(fd);
	listen_peer_name((struct sockaddr *)&address, length, c->peer);
	server->connections[index] = c;
}

// Connections that have been waited for in vain; @return milliseconds until the next one is.
static int leave_slow_ones(struct grass_server *server)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), next = UINT64_MAX;

	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = server->connections[i];

		if (!c || !c->deadline)
			continue;
		if (now >= c->deadline && c->draining) {
			end_connection(server, i);
		} else if (now >= c->deadline) {
			if (c->place < 0)
				server_say(server, "%s: nothing for %d s: left", c->peer,
					   PATIENCE_S);
			leave(server, c);
			i--;
		} else if (c->deadline < next) {
			next = c->deadline;
		}
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000 + 1);
}

static void publish(struct grass_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->monitor_count = 0;
	for (uint32_t i = 0; i < server->places.count; i++) {
		const struct place *place = &server->places.list[i];
		struct grass_monitor *monitor = &server->monitors[server->monitor_count];

		if (!place->access)
			continue;
		_Static_assert(sizeof(monitor->name) == sizeof(place->name), "names fit");
		memcpy(monitor->name, place->name, sizeof(monitor->name));
		monitor->connected = place->connection >= 0;
		server->monitor_count++;
	}
	pthread_mutex_unlock(&server->lock);
}

size_t grass_server_monitors(struct grass_server *server, struct grass_monitor *list)
{
	pthread_mutex_lock(&server->lock);

	size_t count = server->monitor_count;

	memcpy(list, server->monitors, count * sizeof(*list));
	pthread_mutex_unlock(&server->lock);
	return count;
}

// Monitors that have been let in, or not, while others were served.
static void answer_attached(struct grass_server *server)
{
	bool any;

	do {
		struct connection *c = server_attached(server, &any);

		if (!c)
			continue;
		take_lines(server, c);
		if (!send_queued(server, c) || (c->out_sent == c->out_size && !receive(server, c)))
			leave(server, c);
	} while (any);
}

static void *run(void *arg)
{
	struct grass_server *server = arg;
	sigset_t set;

	// OpenSSL writes to sockets whose other end has gone.
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	while (!__atomic_load_n(&server->quit, __ATOMIC_ACQUIRE)) {
		struct pollfd fds[1 + LISTENERS + CONNECTIONS];
		size_t owner[CONNECTIONS], first, all = 0;
		uint64_t woken;
		int wait = leave_slow_ones(server);

		publish(server);
		fds[all++] = (struct pollfd){ .fd = server->wake, .events = POLLIN };
		// Who comes when all connections are in use waits in the listener's queue.
		for (size_t i = 0; i < server->listener_count; i++)
			fds[all++] = (struct pollfd){
				.fd = has_room(server) ? server->listeners[i] : -1,
				.events = POLLIN,
			};
		first = all;
		for (size_t i = 0; i < CONNECTIONS; i++) {
			struct connection *c = server->connections[i];

			if (!c)
				continue;
			owner[all - first] = i;
			fds[all++] = (struct pollfd){ .fd = c->fd, .events = c->wants };
		}
		if (poll(fds, all, wait) < 0 && errno != EINTR)
			break;
		for (size_t i = first; i < all; i++) {
			struct connection *c = server->connections[owner[i - first]];

			if (!fds[i].revents || serve(server, c, fds[i].revents))
				continue;
			if (c->draining)
				end_connection(server, owner[i - first]);
			else
				leave(server, c);
		}
		if (fds[0].revents && read(server->wake, &woken, sizeof(woken)) == sizeof(woken))
			answer_attached(server);
		// Somebody else may have taken its place.
		for (size_t i = 0; i < CONNECTIONS; i++) {
			struct connection *c = server->connections[i];

			if (c && c->closing && !c->draining && c->out_sent == c->out_size)
				leave(server, c);
		}
		for (size_t i = 1; i < first; i++) {
			if (fds[i].revents)
				welcome(server, fds[i].fd);
		}
	}
	return NULL;
}

void grass_server_stop(struct grass_server *server)
{
	if (!server)
		return;
	if (server->has_thread) {
		uint64_t one = 1;

		__atomic_store_n(&server->quit, true, __ATOMIC_RELEASE);
		if (write(server->wake, &one, sizeof(one)) != sizeof(one))
			abort();
		pthread_join(server->thread, NULL);
	}
	// Nobody needs to hear of each.
	server->options.log = NULL;
	server_end_attachments(server);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (server->connections[i])
			end_connection(server, i);
	}
	for (uint32_t i = 0; i < server->places.count; i++)
		places_leave(&server->places, i);
	for (size_t i = 0; i < server->listener_count; i++)
		close(server->listeners[i]);
	if (server->fabric)
		server->options.fabric->close(server->fabric);
	if (server->wake >= 0)
		close(server->wake);
	SSL_CTX_free(server->tls);
	pthread_mutex_destroy(&server->lock);
	free(server->symbols);
	free(server->host);
	free(server);
}

static void cleanup_server(struct grass_server **server)
{
	grass_server_stop(*server);
}

uint16_t grass_server_port(const struct grass_server *server)
{
	return listen_port(server->listeners[0]);
}

static struct gs_error *listen_all(struct grass_server *server)
{
	static const char *const any[] = { "" };
	const char *const *list = server->options.listen_count ? server->options.listen : any;
	size_t count = server->options.listen_count ? server->options.listen_count : 1;
	struct gs_error *err = NULL;

	for (size_t i = 0; i < count && !err; i++)
		err = listen_on(list[i], GRASS_PORT, server->listeners, LISTENERS,
				&server->listener_count);
	return err;
}

struct gs_error *grass_server_start(const struct grass_server_options *options,
				    struct grass_server **ret)
{
	_cleanup_(cleanup_server) struct grass_server *server = calloc(1, sizeof(*server));

	if (!server)
		return &gs_enomem;
	pthread_mutex_init(&server->lock, NULL);
	server->options = *options;
	server->places.fabric = options->fabric;
	server->places.count = places_count(options->mailbox->header);
	server->wake = eventfd(0, EFD_CLOEXEC);
	server->host = strdup(options->host);
	if (!server->host || server->wake < 0)
		return &gs_enomem;
	for (uint32_t i = 0; i < PLACES_MAX; i++)
		server->places.list[i].connection = -1;

	struct gs_error *err = tls_context(&options->identity, true, &server->tls);

	if (!err)
		err = options->fabric->open(options->device, options->mailbox, &server->fabric);
	if (!err && options->kernel)
		err = symbols_pack(options->kernel, &server->symbols, &server->symbols_size,
				   &server->symbols_text_size);
	if (!err)
		err = listen_all(server);
	if (err)
		return err;

	int result = pthread_create(&server->thread, NULL, run, server);

	if (result)
		return gs_error_errno(GS_ERROR_OTHER, result, "no thread for the control port");
	server->has_thread = true;
	*ret = no_cleanup_ptr(server);
	return NULL;
}
