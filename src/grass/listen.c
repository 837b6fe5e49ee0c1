// SPDX-License-Identifier: Apache-2.0
#include "grass/listen.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/parse.h"

struct gs_error *listen_split(const char *spec, char *address, size_t len, uint16_t *port)
{
	const char *first = strchr(spec, ':'), *colon = strrchr(spec, ':'), *begin = spec;
	size_t length = strlen(spec);
	uint64_t number;

	if (*spec == '[') {
		const char *end = strchr(spec, ']');

		begin = spec + 1;
		length = end ? (size_t)(end - begin) : len;
		colon = end && end[1] == ':' ? end + 1 : NULL;
		if (!end || (!colon && end[1]))
			length = len;
	} else if (first && first != colon) {
		// An IPv6 address.
		colon = NULL;
	} else if (colon) {
		length = (size_t)(colon - spec);
	}
	if (length >= len)
		return gs_error_create(GS_ERROR_USAGE, "'%s' is no address", spec);
	memcpy(address, begin, length);
	address[length] = '\0';
	if (colon) {
		const char *text = colon + 1;

		if (!gs_parse_decimal(&text, &number) || *text || number > UINT16_MAX)
			return gs_error_create(GS_ERROR_USAGE, "'%s': no port up to 65535", spec);
		*port = (uint16_t)number;
	}
	return NULL;
}

static struct gs_error *listen_one(const struct addrinfo *info, int *ret)
{
	char name[LISTEN_NAME_MAX];
	const int one = 1;
	_cleanup_close_ int fd =
		socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	listen_peer_name(info->ai_addr, info->ai_addrlen, name);
	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "cannot listen on %s", name);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	// IPv4 has a socket of its own.
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, 64))
		return gs_error_errno(GS_ERROR_OTHER, errno, "cannot listen on %s", name);
	*ret = no_cleanup_fd(fd);
	return NULL;
}

struct gs_error *listen_on(const char *spec, uint16_t port, int *list, size_t max, size_t *count)
{
	const struct addrinfo hints = {
		.ai_flags = AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	_cleanup_addresses_ struct addrinfo *found = NULL;
	char address[256], service[8];
	struct gs_error *err = listen_split(spec, address, sizeof(address), &port);
	size_t before = *count;

	if (err)
		return err;
	snprintf(service, sizeof(service), "%u", port);

	int result = getaddrinfo(*address ? address : NULL, service, &hints, &found);

	if (result)
		return gs_error_create(GS_ERROR_OTHER, "cannot listen on '%s': %s", spec,
				       gai_strerror(result));
	for (const struct addrinfo *info = found; info && *count < max; info = info->ai_next) {
		struct gs_error *one = listen_one(info, &list[*count]);

		if (!one) {
			(*count)++;
		} else {
			// A machine without IPv6 listens on IPv4.
			gs_error_destroy(err);
			err = one;
		}
	}
	if (*count > before) {
		gs_error_destroy(err);
		return NULL;
	}
	return err ? err : gs_error_create(GS_ERROR_USAGE, "too many addresses to listen on");
}

uint16_t listen_port(int fd)
{
	struct sockaddr_storage address = {};
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length))
		return 0;
	return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						   : ((struct sockaddr_in *)&address)->sin_port);
}

void listen_peer_name(const struct sockaddr *address, socklen_t length, char buf[LISTEN_NAME_MAX])
{
	char host[INET6_ADDRSTRLEN + 16], service[8];
	bool v6 = address->sa_family == AF_INET6;

	if (getnameinfo(address, length, host, sizeof(host), service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(buf, LISTEN_NAME_MAX, "somebody");
	else
		snprintf(buf, LISTEN_NAME_MAX, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
			 service);
}

void listen_keep_alive(int fd)
{
	const int one = 1, idle = 60, interval = 10, count = 6;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}
