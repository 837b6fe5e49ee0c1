/* SPDX-License-Identifier: Apache-2.0 */
// TLS 1.3 with certificates of both sides, and how their errors are told.
#ifndef GS_GRASS_TLS_H
#define GS_GRASS_TLS_H

#include <openssl/ssl.h>

#include "grass/control.h"

// @server: of hosts that are watched, else of monitors.
struct gs_error *tls_context(const struct grass_identity *identity, bool server, SSL_CTX **ret);

// What OpenSSL has queued about the last call of this thread, for people; never NULL. Empties the queue.
const char *tls_reason(const SSL *ssl, char *buf, size_t len);

// The peer's certificate says that it is a host's (@server) or a monitor's: OpenSSL only sees to it that it says nothing else.
bool tls_peer_is(const SSL *ssl, bool server);

// The name (CN) in the peer's certificate: printable, no spaces, less than @len bytes. False if there is none such.
bool tls_peer_name(const SSL *ssl, char *buf, size_t len);

#endif
