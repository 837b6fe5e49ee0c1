// SPDX-License-Identifier: Apache-2.0
// The control port with real TLS over loopback, both sides in this process; the mailbox is reached by the fabric shm.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "mailbox_rig.h"

#include "grass/control.h"
#include "grass/keys.h"
#include "grass/message.h"
#include "grass/places.h"
#include "util/array.h"

enum { LINES_MAX = 64 };

static char directory[] = "/tmp/gpusentinel-control-XXXXXX";
static char paths[16][128];

// An attach that waits until it is let go, as one does whose kernel looks for the way to nobody.
static struct {
	// One of the next.
	bool wanted;
	sem_t go;
} slow;

static struct gs_error *attach(struct fabric_server *server, uint64_t slot, uint64_t slot_size,
			       struct json_object *offer, struct json_object *reply,
			       struct fabric_session **ret)
{
	if (__atomic_exchange_n(&slow.wanted, false, __ATOMIC_ACQ_REL))
		sem_wait(&slow.go);
	return fabric_shm_server.attach(server, slot, slot_size, offer, reply, ret);
}

static struct fabric_server_ops fabric;

// A host: a supervisor in a thread of its own, over a mailbox in a memfd.
static struct {
	struct gs_mailbox_header header;
	struct gs_mailbox_export export;
	struct gs_supervisor supervisor;
	struct gs_block block;
	struct machine *machine;
	pthread_t thread;
	bool quit;
	struct grass_server *server;
	pthread_mutex_t lock;
	char lines[LINES_MAX][256];
	size_t line_count;
} host = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void hear(void *arg, const char *line)
{
	(void)arg;
	pthread_mutex_lock(&host.lock);
	if (host.line_count < LINES_MAX)
		snprintf(host.lines[host.line_count++], sizeof(host.lines[0]), "%s", line);
	pthread_mutex_unlock(&host.lock);
}

// Within ten seconds the host has said so.
static void assert_heard(const char *what)
{
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&host.lock);
		for (size_t j = 0; j < host.line_count; j++) {
			if (strstr(host.lines[j], what)) {
				pthread_mutex_unlock(&host.lock);
				return;
			}
		}
		pthread_mutex_unlock(&host.lock);
		usleep(10000);
	}
	for (size_t j = 0; j < host.line_count; j++)
		print_error("heard: %s\n", host.lines[j]);
	fail_msg("not heard: %s", what);
}

static void *supervise(void *arg)
{
	struct timespec now;

	(void)arg;
	while (!__atomic_load_n(&host.quit, __ATOMIC_ACQUIRE)) {
		struct gs_piece piece;

		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!gs_requests_turn(&host.supervisor, mailbox_crc32c(),
				      (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
				      &piece))
			usleep(50);
		if (piece.size)
			gs_requests_copy(&host.supervisor, mailbox_crc32c(), &piece);
	}
	return NULL;
}

static struct grass_identity identity(const char *of)
{
	static int next;
	char *certificate = paths[next++ % 16], *key = paths[next++ % 16];
	static char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.crt", directory);
	snprintf(certificate, sizeof(paths[0]), "%s/%s.crt", directory, of);
	snprintf(key, sizeof(paths[0]), "%s/%s.key", directory, of);
	return (struct grass_identity){ .ca = ca, .certificate = certificate, .key = key };
}

static int start(void **state)
{
	static const uint64_t slots[] = { 64, 256 };
	static const char *const listen[] = { "127.0.0.1:0" };

	(void)state;
	fabric = fabric_shm_server;
	fabric.attach = attach;
	sem_init(&slow.go, 0, 0);
	host.line_count = 0;
	host.quit = false;
	mailbox_layout(&host.header, GS_MAILBOX_CPU, slots);
	host.header.instance[0] = 0x1122334455667788;
	mailbox_seal_header(&host.header);
	host.export.size = host.header.size;
	host.export.header = &host.header;
	host.export.fd = memfd_create("mailbox", MFD_CLOEXEC);
	assert_int_equal(ftruncate(host.export.fd, (off_t)host.header.size), 0);
	host.export.memory =
		mmap(NULL, host.header.size, PROT_READ | PROT_WRITE, MAP_SHARED, host.export.fd, 0);
	assert_ptr_not_equal(host.export.memory, MAP_FAILED);
	memcpy(host.export.memory, &host.header, sizeof(host.header));
	host.machine = machine_create(4);
	host.supervisor = (struct gs_supervisor){
		.map = (uint64_t)&host.machine->map,
		.block = (uint64_t)&host.block,
	};
	mailbox_supervisor(&host.supervisor, &host.header, (uint64_t)host.export.memory,
			   (uint64_t)mailbox_crc32c());
	gs_requests_begin(&host.supervisor, mailbox_crc32c());
	assert_int_equal(pthread_create(&host.thread, NULL, supervise, NULL), 0);

	struct grass_server_options options = {
		.size = sizeof(options),
		.listen = listen,
		.listen_count = 1,
		.identity = identity("web1"),
		.host = "web1",
		.fabric = &fabric,
		.mailbox = &host.export,
		.log = hear,
	};

	must(grass_server_start(&options, &host.server));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	grass_server_stop(host.server);
	__atomic_store_n(&host.quit, true, __ATOMIC_RELEASE);
	pthread_join(host.thread, NULL);
	machine_destroy(host.machine);
	munmap(host.export.memory, host.header.size);
	close(host.export.fd);
	return 0;
}

static struct grass_host as(const char *monitor)
{
	return (struct grass_host){
		.size = sizeof(struct grass_host),
		.name = "web1",
		.address = "127.0.0.1",
		.port = grass_server_port(host.server),
		.identity = identity(monitor),
		.fabric = &fabric_shm_link,
		.timeout_ns = UINT64_C(3000000000),
	};
}

static struct grass_session *connected(const char *monitor)
{
	struct grass_host to = as(monitor);
	struct grass_session *session;

	must(grass_connect(&to, &session));
	return session;
}

static void assert_refused(const struct grass_host *to, const char *says)
{
	struct grass_session *session = NULL;
	struct gs_error *err = grass_connect(to, &session);

	if (!err)
		fail_msg("not refused: %s", says);
	if (!strstr(err->message, says))
		fail_msg("%s", err->message);
	gs_error_destroy(err);
}

static void assert_answers(struct grass_session *session)
{
	struct gs_ping_answer pong;

	must(mailbox_client_ping(grass_session_client(session), &pong));
	assert_int_equal(pong.answer.monitor, grass_session_monitor(session));
}

static void monitors_are_let_in(void **state)
{
	struct grass_session *a = connected("noc"), *b = connected("soc");

	(void)state;
	assert_int_equal(grass_session_monitor(a), 0);
	assert_int_equal(grass_session_monitor(b), 1);
	assert_answers(a);
	assert_answers(b);
	assert_heard("monitor noc at 127.0.0.1:");
	grass_session_close(a, true);
	assert_heard("has left");
	// Its place is free again.
	a = connected("third");
	assert_int_equal(grass_session_monitor(a), 0);
	assert_answers(a);
	grass_session_close(a, true);
	grass_session_close(b, true);
}

static void wrong_certificates_are_refused(void **state)
{
	struct grass_host to = as("noc");
	char other_ca[128], other_certificate[128], other_key[128];

	(void)state;
	// Of the right authority, but a host's.
	to.identity = identity("web2");
	assert_refused(&to, "certificate");
	assert_heard("no monitor: ");
	// Another host than wanted.
	to = as("noc");
	to.name = "web2";
	assert_refused(&to, "hostname mismatch");
	// Another authority.
	snprintf(other_ca, sizeof(other_ca), "%s/other/ca.crt", directory);
	snprintf(other_certificate, sizeof(other_certificate), "%s/other/noc.crt", directory);
	snprintf(other_key, sizeof(other_key), "%s/other/noc.key", directory);
	to = as("noc");
	to.identity.certificate = other_certificate;
	to.identity.key = other_key;
	assert_refused(&to, "ca");
	to.identity.ca = other_ca;
	assert_refused(&to, "self-signed certificate");
	// A key that is another one's, and files that are not there.
	to = as("noc");
	to.identity.key = identity("soc").key;
	assert_refused(&to, "no key of this certificate");
	to.identity.certificate = "/nowhere/noc.crt";
	assert_refused(&to, "/nowhere/noc.crt: no certificate");
	// The host is still there for others.
	struct grass_session *session = connected("noc");

	assert_answers(session);
	grass_session_close(session, true);
}

static void a_monitor_is_no_host(void **state)
{
	static const char *const listen[] = { "127.0.0.1:0" };
	struct grass_server *server;
	struct grass_server_options options = {
		.size = sizeof(options),
		.listen = listen,
		.listen_count = 1,
		.identity = identity("noc"),
		.host = "noc",
		.fabric = &fabric_shm_server,
		.mailbox = &host.export,
	};
	struct grass_host to = as("soc");

	(void)state;
	must(grass_server_start(&options, &server));
	to.name = "noc";
	to.port = grass_server_port(server);
	assert_refused(&to, "the certificate is refused");
	grass_server_stop(server);
}

// A connection by hand, as far as the handshake.
struct raw {
	SSL_CTX *context;
	SSL *ssl;
	int fd;
};

static struct raw raw_connect(bool certificate, int version)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(grass_server_port(host.server)),
	};
	struct grass_identity mine = identity("noc");
	struct raw raw = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	const struct timeval patience = { .tv_sec = 10 };

	raw.context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(raw.context, version);
	if (certificate) {
		SSL_CTX_use_certificate_chain_file(raw.context, mine.certificate);
		SSL_CTX_use_PrivateKey_file(raw.context, mine.key, SSL_FILETYPE_PEM);
	}
	setsockopt(raw.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(raw.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	raw.ssl = SSL_new(raw.context);
	SSL_set_fd(raw.ssl, raw.fd);
	return raw;
}

static void raw_close(struct raw *raw)
{
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->context);
	close(raw->fd);
}

static void old_tls_and_nameless_peers_are_refused(void **state)
{
	struct raw raw = raw_connect(true, TLS1_2_VERSION);
	char byte;

	(void)state;
	assert_true(SSL_connect(raw.ssl) != 1);
	raw_close(&raw);
	assert_heard("unsupported protocol");
	// In TLS 1.3 a client has shaken hands before it hears that its certificate is wanted.
	raw = raw_connect(false, TLS1_3_VERSION);
	assert_int_equal(SSL_connect(raw.ssl), 1);
	assert_true(SSL_read(raw.ssl, &byte, 1) <= 0);
	raw_close(&raw);
	assert_heard("peer did not return a certificate");
}

// Says @line, and gives the host's answer, which ends the connection.
static void assert_line_refused(const char *line, size_t size, const char *says)
{
	struct raw raw = raw_connect(true, TLS1_3_VERSION);
	char answer[2048];
	int got = 0, more;

	assert_int_equal(SSL_connect(raw.ssl), 1);
	// The host may end it before all has been said.
	for (size_t sent = 0; sent < size; sent += 16384) {
		if (SSL_write(raw.ssl, line + sent,
			      size - sent < 16384 ? (int)(size - sent) : 16384) <= 0)
			break;
	}
	while (got < (int)sizeof(answer) - 1 &&
	       (more = SSL_read(raw.ssl, answer + got, (int)sizeof(answer) - 1 - got)) > 0)
		got += more;
	answer[got] = '\0';
	raw_close(&raw);
	if (!strstr(answer, says))
		fail_msg("%.60s: answered %s, not %s", line, answer, says);
}

static void bad_messages_are_refused(void **state)
{
#define OPEN "{\"grass\":1,\"do\":\"open\","
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "\n", "no message" },
		{ "{}\n", "no message" },
		{ "[]\n", "no message" },
		{ "{\"do\":7}\n", "no message" },
		{ "{\"do\":\"open\"} {}\n", "no message" },
		{ "\xff\xfe\n", "no message" },
		{ "{\"do\":\"fly\"}\n", "does not know" },
		{ "{\"do\":\"open\"}\n", "no proper \\\"grass\\\"" },
		{ "{\"grass\":2,\"do\":\"open\"}\n", "version 2" },
		{ OPEN "\"fabric\":7}\n", "no proper \\\"fabric\\\"" },
		{ OPEN "\"fabric\":\"shm\"}\n", "no proper \\\"nonce\\\"" },
		{ OPEN "\"fabric\":\"shm\",\"nonce\":\"0\",\"offer\":{}}\n",
		  "no proper \\\"nonce\\\"" },
		{ OPEN "\"fabric\":\"shm\",\"nonce\":\"0011223344556677\"}\n",
		  "no proper \\\"offer\\\"" },
		{ OPEN "\"fabric\":\"ether\",\"nonce\":\"0011223344556677\",\"offer\":{}}\n",
		  "serves the fabric shm" },
		{ "{\"do\":\"symbols\"}\n", "no symbols" },
	};
	char *endless = malloc(MESSAGE_SIZE_MAX + 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_line_refused(cases[i].line, strlen(cases[i].line), cases[i].says);
	memset(endless, 'x', MESSAGE_SIZE_MAX + 1);
	assert_line_refused(endless, MESSAGE_SIZE_MAX + 1, "too long");
	free(endless);

	struct grass_session *session = connected("noc");

	assert_answers(session);
	grass_session_close(session, true);
}

static void who_says_nothing_is_left(void **state)
{
	struct raw silent = raw_connect(true, TLS1_3_VERSION),
		   shaken = raw_connect(true, TLS1_3_VERSION);
	char byte;

	(void)state;
	assert_int_equal(SSL_connect(shaken.ssl), 1);
	assert_heard("nothing for 5 s");
	assert_true(SSL_read(shaken.ssl, &byte, 1) <= 0);
	assert_int_equal(recv(silent.fd, &byte, 1, 0), 0);
	raw_close(&silent);
	raw_close(&shaken);
}

static void access_outlives_its_connection(void **state)
{
	struct grass_session *first = connected("noc"), *second;

	(void)state;
	// As when a link breaks: the host does not hear goodbye.
	grass_session_close(first, false);
	assert_heard("the connection is broken, its access stays");
	first = connected("soc");
	assert_int_equal(grass_session_monitor(first), 1);
	second = connected("noc");
	assert_int_equal(grass_session_monitor(second), 0);
	assert_answers(second);
	grass_session_close(first, true);
	grass_session_close(second, true);
}

static void places_go_to_who_is_there(void **state)
{
	struct grass_session *sessions[PLACES_MAX];
	char name[16];

	(void)state;
	for (int i = 0; i < PLACES_MAX; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		sessions[i] = connected(name);
		assert_int_equal(grass_session_monitor(sessions[i]), i);
	}

	struct grass_host to = as("noc");

	assert_refused(&to, "all places are taken");
	grass_session_close(sessions[7], false);
	assert_heard("monitor m7 ");
	usleep(100000);
	grass_session_close(sessions[3], false);
	for (int i = 0; i < 200 && host.line_count < PLACES_MAX + 3; i++)
		usleep(10000);
	// Who has been away for longest loses its place.
	sessions[7] = connected("noc");
	assert_int_equal(grass_session_monitor(sessions[7]), 7);
	assert_heard("monitor m7: its place is given to noc");
	assert_answers(sessions[7]);
	sessions[3] = connected("m3");
	assert_int_equal(grass_session_monitor(sessions[3]), 3);
	for (int i = 0; i < PLACES_MAX; i++)
		grass_session_close(sessions[i], true);
}

static void a_name_may_have_several(void **state)
{
	struct grass_session *own[PLACES_PER_NAME], *others[PLACES_MAX], *late;
	char name[16];

	(void)state;
	for (int i = 0; i < PLACES_PER_NAME; i++) {
		own[i] = connected("noc");
		assert_int_equal(grass_session_monitor(own[i]), i);
	}
	for (int i = 0; i < PLACES_PER_NAME; i++)
		assert_answers(own[i]);
	// The first one makes way for one more.
	late = connected("noc");
	assert_int_equal(grass_session_monitor(late), 0);
	assert_answers(late);
	for (int i = PLACES_PER_NAME; i < PLACES_MAX; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		others[i] = connected(name);
		assert_int_equal(grass_session_monitor(others[i]), i);
	}
	// Nobody is kept out by who has several: the newest goes.
	others[0] = connected("soc");
	assert_int_equal(grass_session_monitor(others[0]), 0);
	assert_heard("monitor noc: its place is given to soc");
	assert_answers(others[0]);
	assert_answers(own[1]);
	grass_session_close(others[0], true);
	grass_session_close(late, false);
	for (int i = PLACES_PER_NAME; i < PLACES_MAX; i++)
		grass_session_close(others[i], true);
	for (int i = 0; i < PLACES_PER_NAME; i++)
		grass_session_close(own[i], true);
}

static void *connect_noc(void *arg)
{
	struct grass_session **session = arg;

	*session = connected("noc");
	return NULL;
}

static void wait_for_slow_one(void)
{
	for (int i = 0; i < 1000 && __atomic_load_n(&slow.wanted, __ATOMIC_ACQUIRE); i++)
		usleep(10000);
	assert_false(slow.wanted);
}

static void who_is_slow_to_attach_holds_nobody_up(void **state)
{
	static const char open[] = "{\"grass\":1,\"do\":\"open\",\"fabric\":\"shm\","
				   "\"nonce\":\"0011223344556677\",\"offer\":{}}\n";
	struct grass_session *first, *second;
	pthread_t thread;

	(void)state;
	slow.wanted = true;
	assert_int_equal(pthread_create(&thread, NULL, connect_noc, &first), 0);
	wait_for_slow_one();
	second = connected("soc");
	assert_int_equal(grass_session_monitor(second), 1);
	assert_answers(second);
	sem_post(&slow.go);
	pthread_join(thread, NULL);
	assert_int_equal(grass_session_monitor(first), 0);
	assert_answers(first);
	grass_session_close(first, true);
	assert_heard("has left");

	// Who has gone by then has got nothing, and its place is another one's.
	struct raw raw = raw_connect(true, TLS1_3_VERSION);

	slow.wanted = true;
	assert_int_equal(SSL_connect(raw.ssl), 1);
	assert_int_equal(SSL_write(raw.ssl, open, sizeof(open) - 1), sizeof(open) - 1);
	wait_for_slow_one();
	// What it had not read makes this a reset.
	setsockopt(raw.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
		   sizeof(struct linger));
	raw_close(&raw);
	usleep(100000);
	sem_post(&slow.go);
	assert_heard("monitor noc: has gone before it was let in");
	first = connected("third");
	assert_int_equal(grass_session_monitor(first), 0);
	grass_session_close(first, true);
	grass_session_close(second, true);
}

// More of them than connections, and each would be waited for for five seconds.
static void who_says_nothing_holds_nobody_up(void **state)
{
	struct raw silent[48];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = raw_connect(false, TLS1_3_VERSION);

	struct grass_session *session = connected("noc");

	assert_answers(session);
	grass_session_close(session, true);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		raw_close(&silent[i]);
}

static int make_keys(void **state)
{
	char other[128], name[16];

	(void)state;
	assert_non_null(mkdtemp(directory));
	must(grass_keys_make_ca(directory));
	must(grass_keys_make_host(directory, "web1"));
	must(grass_keys_make_host(directory, "web2"));
	must(grass_keys_make_monitor(directory, "noc"));
	must(grass_keys_make_monitor(directory, "soc"));
	must(grass_keys_make_monitor(directory, "third"));
	for (int i = 0; i < PLACES_MAX; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		must(grass_keys_make_monitor(directory, name));
	}
	snprintf(other, sizeof(other), "%s/other", directory);
	must(grass_keys_make_ca(other));
	must(grass_keys_make_monitor(other, "noc"));
	return 0;
}

static int remove_keys(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

int main(void)
{
#define ON_A_HOST(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		ON_A_HOST(monitors_are_let_in),
		ON_A_HOST(wrong_certificates_are_refused),
		ON_A_HOST(a_monitor_is_no_host),
		ON_A_HOST(old_tls_and_nameless_peers_are_refused),
		ON_A_HOST(bad_messages_are_refused),
		ON_A_HOST(who_says_nothing_is_left),
		ON_A_HOST(access_outlives_its_connection),
		ON_A_HOST(places_go_to_who_is_there),
		ON_A_HOST(a_name_may_have_several),
		ON_A_HOST(who_is_slow_to_attach_holds_nobody_up),
		ON_A_HOST(who_says_nothing_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
