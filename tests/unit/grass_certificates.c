// SPDX-License-Identifier: Apache-2.0
// Which certificates make a host or a monitor: handshakes of both sides' contexts over a pair of sockets.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "grass/keys.h"
#include "grass/tls.h"
#include "util/array.h"

enum { DAY = 24 * 3600 };

static char directory[] = "/tmp/gpusentinel-certificates-XXXXXX";

static FILE *open_in(const char *name, const char *mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, mode);
	assert_non_null(file);
	return file;
}

// NAME.crt and NAME.key of the authority, as no program of ours makes them. @usage: NULL: none; @from, @to: in seconds from now.
static void make(const char *name, const char *cn, size_t cn_size, const char *usage, long from,
		 long to)
{
	char file_name[64];
	FILE *file = open_in("ca.key", "re");
	EVP_PKEY *ca_key = PEM_read_PrivateKey(file, NULL, NULL, NULL), *key = EVP_EC_gen("P-256");

	fclose(file);
	file = open_in("ca.crt", "re");

	X509 *ca = PEM_read_X509(file, NULL, NULL, NULL), *x509 = X509_new();

	fclose(file);
	assert_true(ca_key && key && ca && x509);
	X509_set_version(x509, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1000);
	X509_gmtime_adj(X509_getm_notBefore(x509), from);
	X509_gmtime_adj(X509_getm_notAfter(x509), to);
	X509_set_pubkey(x509, key);
	X509_set_issuer_name(x509, X509_get_subject_name(ca));
	assert_int_equal(X509_NAME_add_entry_by_NID(X509_get_subject_name(x509), NID_commonName,
						    V_ASN1_UTF8STRING, (const unsigned char *)cn,
						    (int)cn_size, -1, 0),
			 1);

	const struct {
		int nid;
		const char *value;
	} extensions[] = {
		{ NID_subject_alt_name, "DNS:web1" },
		{ NID_ext_key_usage, usage },
	};

	for (size_t i = 0; i < 2; i++) {
		X509_EXTENSION *extension =
			extensions[i].value ? X509V3_EXT_conf_nid(NULL, NULL, extensions[i].nid,
								  extensions[i].value)
					    : NULL;

		assert_true(!extensions[i].value || extension);
		if (extension)
			X509_add_ext(x509, extension, -1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(x509, ca_key, EVP_sha256()) > 0);
	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = open_in(file_name, "we");
	PEM_write_X509(file, x509);
	fclose(file);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = open_in(file_name, "we");
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	X509_free(x509);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
}

static SSL *new_side(const char *name, bool server, int fd)
{
	char ca[128], certificate[128], key[128];
	const struct grass_identity identity = { ca, certificate, key };
	SSL_CTX *context;

	snprintf(ca, sizeof(ca), "%s/ca.crt", directory);
	snprintf(certificate, sizeof(certificate), "%s/%s.crt", directory, name);
	snprintf(key, sizeof(key), "%s/%s.key", directory, name);

	struct gs_error *err = tls_context(&identity, server, &context);

	if (err)
		fail_msg("%s", err->message);

	SSL *ssl = SSL_new(context);

	SSL_CTX_free(context);
	assert_non_null(ssl);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	if (server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

struct outcome {
	// The handshake is done there.
	bool host, monitor;
	// The other end is what it should be, and has a name.
	bool host_is, monitor_is, named;
	char reason[256];
};

// Both sides in turn, until neither gets any further.
static struct outcome shake(const char *host_name, const char *monitor_name)
{
	struct outcome outcome = {};
	char name[64];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);

	SSL *host = new_side(host_name, true, fds[0]),
	    *monitor = new_side(monitor_name, false, fds[1]);

	for (int i = 0; i < 10; i++) {
		outcome.monitor = SSL_do_handshake(monitor) == 1;
		if (!outcome.monitor && SSL_get_error(monitor, 0) == SSL_ERROR_SSL &&
		    !*outcome.reason)
			tls_reason(monitor, outcome.reason, sizeof(outcome.reason));
		outcome.host = SSL_do_handshake(host) == 1;
		if (!outcome.host && SSL_get_error(host, 0) == SSL_ERROR_SSL && !*outcome.reason)
			tls_reason(host, outcome.reason, sizeof(outcome.reason));
	}
	outcome.host_is = tls_peer_is(monitor, true);
	outcome.monitor_is = tls_peer_is(host, false);
	outcome.named = tls_peer_name(host, name, sizeof(name));
	SSL_free(host);
	SSL_free(monitor);
	close(fds[0]);
	close(fds[1]);
	return outcome;
}

static void assert_host_refused(const char *monitor, const char *says)
{
	struct outcome outcome = shake("web1", monitor);

	assert_false(outcome.host);
	if (!strstr(outcome.reason, says))
		fail_msg("%s", outcome.reason);
}

static void assert_monitor_refuses(const char *host, const char *says)
{
	struct outcome outcome = shake(host, "noc");

	assert_false(outcome.monitor);
	if (!strstr(outcome.reason, says))
		fail_msg("%s", outcome.reason);
}

static void ours_fit(void **state)
{
	struct outcome outcome = shake("web1", "noc");

	(void)state;
	assert_true(outcome.host && outcome.monitor);
	assert_true(outcome.host_is && outcome.monitor_is && outcome.named);
}

static void time_counts(void **state)
{
	(void)state;
	make("old-monitor", "old", 3, "clientAuth", -2 * DAY, -DAY);
	make("new-monitor", "new", 3, "clientAuth", DAY, 2 * DAY);
	make("old-host", "web1", 4, "serverAuth", -2 * DAY, -DAY);
	assert_host_refused("old-monitor", "expired");
	assert_host_refused("new-monitor", "not yet valid");
	assert_monitor_refuses("old-host", "expired");
}

static void roles_are_told_apart(void **state)
{
	struct outcome outcome;

	(void)state;
	make("host-as-monitor", "web1", 4, "serverAuth", -DAY, DAY);
	make("monitor-as-host", "noc", 3, "clientAuth", -DAY, DAY);
	assert_host_refused("host-as-monitor", "certificate");
	assert_monitor_refuses("monitor-as-host", "certificate");

	// One that does not say what it is for: OpenSSL lets it pass, and we do not.
	make("anything", "any", 3, NULL, -DAY, DAY);
	outcome = shake("web1", "anything");
	assert_true(outcome.host && !outcome.monitor_is);
	outcome = shake("anything", "noc");
	assert_true(outcome.monitor && !outcome.host_is);
}

static void names_are_plain(void **state)
{
	static const struct {
		const char *cn;
		size_t size;
	} bad[] = {
		{ "a\0b", 3 },
		{ "a b", 3 },
		{ "a\nb", 3 },
		{ "\xc3\xa4", 2 },
		{ "0123456789012345678901234567890123456789012345678901234567890123", 64 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make("odd", bad[i].cn, bad[i].size, "clientAuth", -DAY, DAY);

		struct outcome outcome = shake("web1", "odd");

		assert_true(outcome.host);
		assert_false(outcome.named);
	}
}

static void keys_are_not_overwritten(void **state)
{
	static const char *const names[] = { "", "ca", ".x", "a/b", "a b", "-\n" };
	struct gs_error *err = grass_keys_make_ca(directory);
	struct stat status;
	char path[128];

	(void)state;
	assert_non_null(err);
	assert_non_null(strstr(err->message, "is there already"));
	gs_error_destroy(err);
	err = grass_keys_make_host(directory, "noc");
	assert_non_null(err);
	gs_error_destroy(err);
	err = grass_keys_make_monitor("/nowhere", "noc");
	assert_non_null(err);
	assert_non_null(strstr(err->message, "no authority there"));
	gs_error_destroy(err);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		err = grass_keys_make_host(directory, names[i]);
		assert_non_null(err);
		assert_int_equal(err->code, GS_ERROR_USAGE);
		gs_error_destroy(err);
	}
	snprintf(path, sizeof(path), "%s/noc.key", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

static int make_keys(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_null(grass_keys_make_ca(directory));
	assert_null(grass_keys_make_host(directory, "web1"));
	assert_null(grass_keys_make_monitor(directory, "noc"));
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_fit),
		cmocka_unit_test(time_counts),
		cmocka_unit_test(roles_are_told_apart),
		cmocka_unit_test(names_are_plain),
		cmocka_unit_test(keys_are_not_overwritten),
	};

	return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
