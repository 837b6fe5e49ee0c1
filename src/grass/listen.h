/* SPDX-License-Identifier: Apache-2.0 */
// Sockets and their names.
#ifndef GS_GRASS_LISTEN_H
#define GS_GRASS_LISTEN_H

#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <gpusentinel/error.h>

#include "util/cleanup.h"

// Bytes of "[address]:port" with the final NUL.
#define LISTEN_NAME_MAX 80

static inline void listen_cleanup_addresses(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

// Of getaddrinfo().
#define _cleanup_addresses_ _cleanup_(listen_cleanup_addresses)

// Split "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT". An IPv6 address without brackets has no port.
struct gs_error *listen_split(const char *spec, char *address, size_t len, uint16_t *port);

// Listen on all addresses that @spec names; sockets are added to @list.
struct gs_error *listen_on(const char *spec, uint16_t port, int *list, size_t max, size_t *count);
uint16_t listen_port(int fd);
void listen_peer_name(const struct sockaddr *address, socklen_t length, char buf[LISTEN_NAME_MAX]);
// A peer that is gone for minutes is found out.
void listen_keep_alive(int fd);

#endif
