// SPDX-License-Identifier: Apache-2.0
#include "grass/tls.h"

#include <ctype.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "util/cleanup.h"

const char *tls_reason(const SSL *ssl, char *buf, size_t len)
{
	unsigned long code = ERR_peek_last_error();
	long verified = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	const char *reason = ERR_reason_error_string(code);

	if (verified != X509_V_OK)
		snprintf(buf, len, "the certificate is refused: %s",
			 X509_verify_cert_error_string(verified));
	else if (ERR_GET_LIB(code) == ERR_LIB_SYS)
		snprintf(buf, len, "%s", strerror(ERR_GET_REASON(code)));
	else if (reason)
		snprintf(buf, len, "%s", reason);
	else
		snprintf(buf, len, "the other end has closed the connection");
	ERR_clear_error();
	return buf;
}

static struct gs_error *failed(const char *what, const char *file)
{
	unsigned long first = ERR_peek_error();
	char reason[256];

	// What the system said comes first, and only then that it said something.
	if (ERR_SYSTEM_ERROR(first)) {
		ERR_clear_error();
		return gs_error_errno(GS_ERROR_OTHER, ERR_GET_REASON(first), "%s: %s", file, what);
	}
	return gs_error_create(GS_ERROR_OTHER, "%s: %s: %s; `grass keys` makes them", file, what,
			       tls_reason(NULL, reason, sizeof(reason)));
}

static void cleanup_context(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

struct gs_error *tls_context(const struct grass_identity *identity, bool server, SSL_CTX **ret)
{
	ERR_clear_error();

	_cleanup_(cleanup_context) SSL_CTX *context =
		SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (!context)
		return &gs_enomem;
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	// Each connection proves anew who is there.
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	// The purpose follows from the side: a host's certificate does not make a monitor, nor the other way round.
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(context, 1);
	if (SSL_CTX_load_verify_locations(context, identity->ca, NULL) != 1)
		return failed("no certificate of an authority", identity->ca);
	if (SSL_CTX_use_certificate_chain_file(context, identity->certificate) != 1)
		return failed("no certificate", identity->certificate);
	if (SSL_CTX_use_PrivateKey_file(context, identity->key, SSL_FILETYPE_PEM) != 1)
		return failed("no key of this certificate", identity->key);
	if (server)
		SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(identity->ca));
	*ret = no_cleanup_ptr(context);
	return NULL;
}

bool tls_peer_is(const SSL *ssl, bool server)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	uint32_t usage = certificate ? X509_get_extended_key_usage(certificate) : 0;

	// All bits: there is no such extension.
	return usage != UINT32_MAX && usage & (server ? XKU_SSL_SERVER : XKU_SSL_CLIENT);
}

bool tls_peer_name(const SSL *ssl, char *buf, size_t len)
{
	X509 *certificate = SSL_get1_peer_certificate(ssl);
	int got = -1;

	if (!certificate)
		return false;
	got = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, buf,
					(int)len);
	X509_free(certificate);
	// A NUL inside would make it another one's.
	if (got <= 0 || (size_t)got >= len - 1 || strlen(buf) != (size_t)got)
		return false;
	for (int i = 0; i < got; i++) {
		if (!isgraph((unsigned char)buf[i]))
			return false;
	}
	return true;
}
