/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The hosts that a user means.
 *
 * A host is `NAME[@ADDRESS][:PORT]`: NAME is what its certificate and the output call it. ADDRESS is where its control
 * port is, a name or an IP address; without it NAME is that too. An IPv6 address stands in brackets. A file has one a
 * line; `#` begins a comment.
 */
#ifndef GS_GRASS_CLI_HOSTS_H
#define GS_GRASS_CLI_HOSTS_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** Bytes of a name and of an address at most. */
#define HOST_NAME_MAX_SIZE 64
#define HOST_ADDRESS_MAX_SIZE 256

struct host_address {
	char name[HOST_NAME_MAX_SIZE], address[HOST_ADDRESS_MAX_SIZE];
	uint16_t port;
};

/** Zero-initialise; end it with hosts_deinit(). */
struct hosts {
	struct host_address *list;
	size_t count, capacity;
};

void hosts_deinit(struct hosts *hosts);

/** Read one. GS_ERROR_USAGE says what is wrong with it. */
struct gs_error *host_parse(const char *text, struct host_address *ret);

/** Add one, unless it is there. GS_ERROR_USAGE if another one has its name. */
struct gs_error *hosts_add(struct hosts *hosts, const struct host_address *host);

/** Add those of @p size bytes of text, which came from @p path. GS_ERROR_USAGE names the line. */
struct gs_error *hosts_parse(struct hosts *hosts, const char *path, const char *text, size_t size);

/** Add those of a file. */
struct gs_error *hosts_load(struct hosts *hosts, const char *path);

/** The one of that name; NULL: there is none. */
const struct host_address *hosts_find(const struct hosts *hosts, const char *name);

#endif
