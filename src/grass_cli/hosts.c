// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/hosts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grass/control.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

// Tens of thousands of hosts; what is larger is some other file.
enum { FILE_MAX = 1 << 20, LINE_MAX_SIZE = 1024 };

void hosts_deinit(struct hosts *hosts)
{
	free(hosts->list);
	*hosts = (struct hosts){};
}

// What host names and IP addresses are made of.
static bool is_word(const char *text, size_t size, const char *more)
{
	for (size_t i = 0; i < size; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr(more, text[i]))
			return false;
	}
	return size > 0;
}

static struct gs_error *bad(const char *text, const char *why)
{
	return gs_error_create(GS_ERROR_USAGE, "'%s' is no host: %s; NAME[@ADDRESS][:PORT]", text,
			       why);
}

static bool parse_port(const char *text, uint16_t *ret)
{
	uint64_t port;

	if (!gs_parse_decimal(&text, &port) || *text || !port || port > UINT16_MAX)
		return false;
	*ret = (uint16_t)port;
	return true;
}

// An address ends at a colon, or its bracket.
static const char *address_end(const char *address)
{
	if (*address != '[')
		return address + strcspn(address, ":");

	const char *bracket = strchr(address, ']');

	return bracket ? bracket + 1 : address;
}

static bool address_ok(const char *address, size_t size)
{
	if (*address != '[')
		return is_word(address, size, "-._");
	return size > 2 && is_word(address + 1, size - 2, ":.%");
}

struct gs_error *host_parse(const char *text, struct host_address *ret)
{
	size_t name = strcspn(text, "@:");
	const char *address = text[name] == '@' ? text + name + 1 : text;
	const char *end = text[name] == '@' ? address_end(address) : text + name;
	size_t size = (size_t)(end - address);

	*ret = (struct host_address){ .port = GRASS_PORT };
	if (name >= sizeof(ret->name))
		return bad(text, "its name is too long");
	if (!is_word(text, name, "-._"))
		return bad(text, "names have letters, digits, '-', '.' and '_'");
	if (size >= sizeof(ret->address) || !address_ok(address, size))
		return bad(text, "its address is none (IPv6 stands in brackets)");
	if (*end && (*end != ':' || !parse_port(end + 1, &ret->port)))
		return bad(text, "a port is a number from 1 to 65535");
	memcpy(ret->name, text, name);
	// Without brackets: they only kept the port apart.
	if (*address == '[')
		memcpy(ret->address, address + 1, size - 2);
	else
		memcpy(ret->address, address, size);
	return NULL;
}

const struct host_address *hosts_find(const struct hosts *hosts, const char *name)
{
	for (size_t i = 0; i < hosts->count; i++) {
		if (!strcmp(hosts->list[i].name, name))
			return &hosts->list[i];
	}
	return NULL;
}

struct gs_error *hosts_add(struct hosts *hosts, const struct host_address *host)
{
	const struct host_address *same = hosts_find(hosts, host->name);

	if (same && (strcmp(same->address, host->address) != 0 || same->port != host->port))
		return gs_error_create(
			GS_ERROR_USAGE,
			"two hosts are called '%s': at %s, port %u, and at %s, port %u", host->name,
			same->address, same->port, host->address, host->port);
	if (!same && !gs_array_push(hosts->list, hosts->count, hosts->capacity, *host))
		return &gs_enomem;
	return NULL;
}

// The host in a line, if there is one.
static struct gs_error *parse_line(struct hosts *hosts, const char *line, size_t size)
{
	const char *comment = memchr(line, '#', size);
	char text[LINE_MAX_SIZE];
	struct host_address host;

	if (comment)
		size = (size_t)(comment - line);
	while (size && isspace((unsigned char)line[size - 1]))
		size--;
	while (size && isspace((unsigned char)*line)) {
		line++;
		size--;
	}
	if (!size)
		return NULL;
	if (size >= sizeof(text) || memchr(line, 0, size))
		return gs_error_create(GS_ERROR_USAGE, "that is no host; NAME[@ADDRESS][:PORT]");
	memcpy(text, line, size);
	text[size] = 0;

	struct gs_error *err = host_parse(text, &host);

	return err ? err : hosts_add(hosts, &host);
}

struct gs_error *hosts_parse(struct hosts *hosts, const char *path, const char *text, size_t size)
{
	unsigned int number = 1;

	for (size_t at = 0; at < size; number++) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t length = newline ? (size_t)(newline - (text + at)) : size - at;
		struct gs_error *err = parse_line(hosts, text + at, length);

		if (err)
			return gs_error_prefix(err, "%s:%u", path, number);
		at += length + 1;
	}
	return NULL;
}

struct gs_error *hosts_load(struct hosts *hosts, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *text = NULL;
	size_t size = 0, capacity = 0;

	if (!file)
		return gs_error_errno(GS_ERROR_USAGE, errno, "%s", path);
	do {
		if (size == FILE_MAX)
			return gs_error_create(GS_ERROR_USAGE,
					       "%s is too large for a list of hosts", path);
		capacity = capacity ? 2 * capacity : 4096;

		char *more = realloc(text, capacity);

		if (!more)
			return &gs_enomem;
		text = more;
		size += fread(text + size, 1, capacity - size, file);
	} while (size == capacity);
	if (ferror(file))
		return gs_error_errno(GS_ERROR_USAGE, errno ? errno : EIO, "%s", path);

	struct gs_error *err = hosts_parse(hosts, path, text, size);

	if (!err && !hosts->count)
		err = gs_error_create(GS_ERROR_USAGE, "%s names no host", path);
	return err;
}
