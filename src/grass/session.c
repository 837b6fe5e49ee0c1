// SPDX-License-Identifier: Apache-2.0
// The control port, monitoring side.
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "grass/listen.h"
#include "grass/message.h"
#include "grass/symbols.h"
#include "grass/tls.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)

struct grass_session {
	char *name;
	const struct fabric_link_ops *fabric;
	struct fabric_link *link;
	struct mailbox_reader *reader;
	struct mailbox_client *client;
	struct symbols *symbols;
	uint32_t monitor;
	// The control connection, which need not live.
	SSL_CTX *tls;
	SSL *ssl;
	int fd;
	uint64_t timeout_ns;
	// Bytes that came behind the last line.
	char in[MESSAGE_SIZE_MAX];
	size_t in_used;
};

// Writing to a connection whose other end has gone raises SIGPIPE, which is the program's.
struct pipe_guard {
	sigset_t before;
	bool was_pending;
};

static void guard_pipe(struct pipe_guard *guard)
{
	sigset_t set;

	sigpending(&set);
	guard->was_pending = sigismember(&set, SIGPIPE);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &guard->before);
}

static void unguard_pipe(struct pipe_guard *guard)
{
	const struct timespec none = {};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	if (!guard->was_pending)
		sigtimedwait(&set, NULL, &none);
	pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

static int connect_one(const struct addrinfo *info, uint64_t timeout_ns)
{
	_cleanup_close_ int fd =
		socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t length = sizeof(error);

	if (fd < 0)
		return -errno;
	if (!connect(fd, info->ai_addr, info->ai_addrlen))
		return no_cleanup_fd(fd);
	if (errno != EINPROGRESS)
		return -errno;

	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

	if (poll(&poll_fd, 1, (int)(timeout_ns / 1000000)) != 1)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length))
		return -errno;
	return error ? -error : no_cleanup_fd(fd);
}

static struct gs_error *connect_tcp(struct grass_session *session, const struct grass_host *host)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	_cleanup_addresses_ struct addrinfo *found = NULL;
	const char *address = host->address ? host->address : host->name;
	char service[8];
	int result, fd = -EHOSTUNREACH;

	snprintf(service, sizeof(service), "%u", host->port ? host->port : GRASS_PORT);
	result = getaddrinfo(address, service, &hints, &found);
	if (result)
		return gs_error_create(GS_ERROR_OTHER, "%s: %s", address, gai_strerror(result));
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = connect_one(info, session->timeout_ns);
	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, -fd, "%s, port %s", address, service);
	session->fd = fd;
	listen_keep_alive(fd);
	return NULL;
}

static struct gs_error *over(struct grass_session *session, const char *what)
{
	char reason[256];

	return gs_error_create(GS_ERROR_OTHER, "%s: %s", what,
			       tls_reason(session->ssl, reason, sizeof(reason)));
}

// Waits for what a call of OpenSSL that returned @result wants; an error if it is none, or in vain.
static struct gs_error *wait_for(struct grass_session *session, int result, uint64_t deadline,
				 const char *what)
{
	int error = SSL_get_error(session->ssl, result);

	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		return over(session, what);

	uint64_t ns = clock_ns(CLOCK_MONOTONIC);
	struct pollfd poll_fd = {
		.fd = session->fd,
		.events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT,
	};

	if (ns >= deadline || !poll(&poll_fd, 1, (int)((deadline - ns) / 1000000 + 1)))
		return gs_error_create(GS_ERROR_OTHER, "%s: no answer", what);
	return NULL;
}

static uint64_t deadline_of(const struct grass_session *session)
{
	return clock_ns(CLOCK_MONOTONIC) + session->timeout_ns;
}

static struct gs_error *shake(struct grass_session *session, const struct grass_host *host)
{
	uint64_t deadline = deadline_of(session);
	struct gs_error *err;
	int result;

	session->ssl = SSL_new(session->tls);
	if (!session->ssl || SSL_set_fd(session->ssl, session->fd) != 1)
		return &gs_enomem;
	SSL_set_hostflags(session->ssl,
			  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
	if (SSL_set1_host(session->ssl, host->name) != 1 ||
	    SSL_set_tlsext_host_name(session->ssl, host->name) != 1)
		return gs_error_create(GS_ERROR_USAGE, "'%s' is no name for a host", host->name);
	for (;;) {
		ERR_clear_error();
		result = SSL_connect(session->ssl);
		if (result == 1)
			return tls_peer_is(session->ssl, true)
				       ? NULL
				       : gs_error_create(GS_ERROR_OTHER,
							 "its certificate is no host's");
		err = wait_for(session, result, deadline, "no secure connection");
		if (err)
			return err;
	}
}

static struct gs_error *send_all(struct grass_session *session, struct json_object *object)
{
	uint64_t deadline = deadline_of(session);
	size_t size, sent = 0;
	_cleanup_free_ char *line = message_line(object, &size);

	if (!line)
		return &gs_enomem;
	while (sent < size) {
		ERR_clear_error();

		int result = SSL_write(session->ssl, line + sent, (int)(size - sent));

		if (result > 0) {
			sent += (size_t)result;
			continue;
		}

		struct gs_error *err = wait_for(session, result, deadline, "control port");

		if (err)
			return err;
	}
	return NULL;
}

static struct gs_error *receive(struct grass_session *session, void *buf, size_t size,
				uint64_t deadline, size_t *got_ret)
{
	for (;;) {
		ERR_clear_error();

		int result = SSL_read(session->ssl, buf, size > 65536 ? 65536 : (int)size);

		if (result > 0) {
			*got_ret = (size_t)result;
			return NULL;
		}

		struct gs_error *err = wait_for(session, result, deadline, "control port");

		if (err)
			return err;
	}
}

static struct gs_error *receive_object(struct grass_session *session, struct json_object **ret)
{
	uint64_t deadline = deadline_of(session);
	char *end;

	while (!(end = memchr(session->in, '\n', session->in_used))) {
		size_t got;

		if (session->in_used == sizeof(session->in))
			return gs_error_create(GS_ERROR_OTHER, "the host's message is too long");

		struct gs_error *err =
			receive(session, session->in + session->in_used,
				sizeof(session->in) - session->in_used, deadline, &got);

		if (err)
			return err;
		session->in_used += got;
	}

	size_t size = (size_t)(end - session->in);

	*ret = message_parse(session->in, size);
	session->in_used -= size + 1;
	memmove(session->in, end + 1, session->in_used);
	return *ret ? NULL : gs_error_create(GS_ERROR_OTHER, "the host's message is none");
}

static struct gs_error *read_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct grass_session *session = arg;
	const struct fabric_piece piece = { .offset = offset, .buf = buf, .size = size };

	return session->fabric->read(session->link, &piece, 1);
}

static struct gs_error *start_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct grass_session *session = arg;
	const struct fabric_piece piece = { .offset = offset, .buf = buf, .size = size };

	return session->fabric->start(session->link, &piece, 1);
}

static struct gs_error *finish_mailbox(void *arg)
{
	struct grass_session *session = arg;

	return session->fabric->finish(session->link);
}

static struct gs_error *make_buffer(void *arg, size_t size, void **ret)
{
	struct grass_session *session = arg;

	return session->fabric->buffer(session->link, size, ret);
}

static struct gs_error *write_mailbox(void *arg, uint64_t offset, const void *buf, size_t size)
{
	struct grass_session *session = arg;

	return session->fabric->write(session->link, offset, buf, size);
}

// What came over the fabric is what the host spoke of.
static struct gs_error *open_mailbox(struct grass_session *session,
				     const struct message_opened *opened)
{
	struct gs_error *err;

	if (session->fabric->size(session->link) != opened->mailbox_size)
		return gs_error_create(GS_ERROR_OTHER, "the host contradicts itself about the size "
						       "of its mailbox");
	err = mailbox_reader_create(read_mailbox, session, &session->reader);
	if (err)
		return err;
	mailbox_reader_set_start(session->reader, start_mailbox, finish_mailbox,
				 session->fabric->buffer ? make_buffer : NULL);

	const struct gs_mailbox_header *header = mailbox_reader_header(session->reader);

	if (memcmp(header->instance, opened->instance, sizeof(header->instance)) != 0 ||
	    header->size > opened->mailbox_size)
		return gs_error_create(GS_ERROR_OTHER,
				       "the mailbox that is read is not the one that the host "
				       "spoke of");
	return mailbox_client_create(session->reader, write_mailbox, session, session->monitor,
				     &session->client);
}

static struct gs_error *open_session(struct grass_session *session, const struct grass_host *host,
				     struct json_object *offer)
{
	_cleanup_json_ struct json_object *object = json_object_new_object(), *answer = NULL;
	struct message_opened opened = {};
	uint64_t nonce;
	struct gs_error *err;

	json_object_object_add(object, "offer", json_object_get(offer));
	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return gs_error_errno(GS_ERROR_OTHER, errno, "no random number");
	message_add_number(object, "grass", GRASS_PROTOCOL);
	message_add_string(object, "do", "open");
	message_add_string(object, "fabric", session->fabric->name);
	message_add_bytes(object, "nonce", &nonce, sizeof(nonce));
	err = send_all(session, object);
	if (!err)
		err = receive_object(session, &answer);
	if (!err)
		err = message_read_opened(answer, &opened);
	if (err)
		return err;
	if (opened.nonce != nonce)
		return gs_error_create(GS_ERROR_OTHER, "the host answers another question");
	session->monitor = opened.monitor;
	if (host->timeout_ns)
		session->fabric->set_timeout(session->link, host->timeout_ns);
	err = session->fabric->connect(session->link, opened.reply);
	if (!err)
		err = open_mailbox(session, &opened);
	if (!err && host->timeout_ns)
		mailbox_client_set_timeout(session->client, host->timeout_ns);
	return err;
}

static struct gs_error *fetch_symbols(struct grass_session *session)
{
	_cleanup_json_ struct json_object *object = json_object_new_object(), *answer = NULL;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t size, text_size, got = 0;

	message_add_string(object, "do", "symbols");

	struct gs_error *err = send_all(session, object);

	if (!err)
		err = receive_object(session, &answer);
	if (!err)
		err = message_read_symbols(answer, &size, &text_size);
	if (err)
		return err;
	packed = malloc(size ? size : 1);
	if (!packed)
		return &gs_enomem;
	// Some of them may have come with the line.
	got = session->in_used < size ? session->in_used : size;
	memcpy(packed, session->in, got);
	session->in_used -= got;
	memmove(session->in, session->in + got, session->in_used);
	while (got < size) {
		size_t more;

		err = receive(session, packed + got, size - got, deadline_of(session), &more);
		if (err)
			return err;
		got += more;
	}
	return symbols_unpack(packed, size, text_size, &session->symbols);
}

static void cleanup_session(struct grass_session **session)
{
	grass_session_close(*session, false);
}

struct gs_error *grass_connect(const struct grass_host *host, struct grass_session **ret)
{
	_cleanup_(cleanup_session) struct grass_session *session = calloc(1, sizeof(*session));
	_cleanup_json_ struct json_object *offer = json_object_new_object();
	struct pipe_guard guard;
	struct gs_error *err;

	if (!session)
		return &gs_enomem;
	session->fd = -1;
	session->fabric = host->fabric;
	session->timeout_ns = host->timeout_ns ? host->timeout_ns : 5 * SECOND;
	session->name = strdup(host->name);
	if (!session->name)
		return &gs_enomem;
	guard_pipe(&guard);
	// What takes time here comes first: the host waits only so long for what is said to it.
	err = tls_context(&host->identity, false, &session->tls);
	if (!err)
		err = session->fabric->open(host->device, offer, &session->link);
	if (!err)
		err = connect_tcp(session, host);
	if (!err)
		err = shake(session, host);
	if (!err)
		err = open_session(session, host, offer);
	if (!err && host->symbols)
		err = fetch_symbols(session);
	unguard_pipe(&guard);
	if (err)
		return gs_error_prefix(err, "%s", host->name);
	*ret = no_cleanup_ptr(session);
	return NULL;
}

void grass_session_close(struct grass_session *session, bool bye)
{
	struct pipe_guard guard;

	if (!session)
		return;
	guard_pipe(&guard);
	if (bye && session->ssl) {
		_cleanup_json_ struct json_object *object = json_object_new_object();

		message_add_string(object, "do", "close");
		gs_error_destroy(send_all(session, object));
	}
	mailbox_client_destroy(session->client);
	mailbox_reader_destroy(session->reader);
	if (session->link)
		session->fabric->close(session->link);
	symbols_free(session->symbols);
	if (session->ssl && SSL_is_init_finished(session->ssl))
		SSL_shutdown(session->ssl);
	SSL_free(session->ssl);
	SSL_CTX_free(session->tls);
	ERR_clear_error();
	unguard_pipe(&guard);
	if (session->fd >= 0)
		close(session->fd);
	free(session->name);
	free(session);
}

struct mailbox_reader *grass_session_reader(struct grass_session *session)
{
	return session->reader;
}

struct mailbox_client *grass_session_client(struct grass_session *session)
{
	return session->client;
}

uint32_t grass_session_monitor(const struct grass_session *session)
{
	return session->monitor;
}

const struct fabric_link_ops *grass_session_fabric(const struct grass_session *session,
						   struct fabric_link **ret)
{
	*ret = session->link;
	return session->fabric;
}

void grass_session_symbolize(const struct grass_session *session, uint64_t address, char *buf,
			     size_t len)
{
	symbols_name(session->symbols, address, buf, len);
}
