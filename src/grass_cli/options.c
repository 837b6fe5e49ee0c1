// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grass/keys.h"
#include "grass_cli/grass.h"
#include "util/array.h"
#include "util/cleanup.h"

enum {
	KEYS = CLI_OPTION_PROGRAM,
	AS,
	FABRIC,
	DEVICE,
	TIMEOUT,
	VIA,
};

// Where keys lie if nobody says otherwise.
#define KEYS_DIRECTORY "/etc/gpusentinel"

const char grass_short_options[] = "H:";

const struct option grass_long_options[] = {
	{ "hosts", required_argument, NULL, 'H' },
	{ "keys", required_argument, NULL, KEYS },
	{ "as", required_argument, NULL, AS },
	{ "fabric", required_argument, NULL, FABRIC },
	{ "device", required_argument, NULL, DEVICE },
	{ "timeout", required_argument, NULL, TIMEOUT },
	{ "via", required_argument, NULL, VIA },
	{},
};

struct grass *grass_of(struct cli *cli)
{
	return (struct grass *)((char *)cli - offsetof(struct grass, cli));
}

void grass_deinit(struct grass *grass)
{
	hosts_deinit(&grass->known);
	hosts_deinit(&grass->chosen);
	grass_keys_forget(&grass->options.identity);
}

static struct gs_error *set_fabric(struct grass *grass, const char *name)
{
	grass->options.fabric = fabric_link_named(name);
	if (grass->options.fabric)
		return NULL;
	return gs_error_create(GS_ERROR_USAGE,
			       "there is no fabric '%s'; verbs is RDMA, shm is for "
			       "hosts that are watched on this machine",
			       name);
}

struct gs_error *grass_seconds(const char *what, const char *text, uint64_t *ret)
{
	char *end;
	double seconds = strtod(text, &end);

	// Written so that NaN fails too.
	if (end == text || *end || !(seconds >= 0.001 && seconds <= 86400.0))
		return gs_error_create(GS_ERROR_USAGE,
				       "%s takes seconds from 0.001 to 86400, not '%s'", what,
				       text);
	*ret = (uint64_t)(seconds * 1e9);
	return NULL;
}

struct gs_error *grass_set_option(struct cli *cli, int c, const char *arg)
{
	struct grass *grass = grass_of(cli);

	switch (c) {
	case 'H':
		return hosts_load(&grass->known, arg);
	case KEYS:
		grass->keys = arg;
		return NULL;
	case AS:
		grass->as = arg;
		return NULL;
	case FABRIC:
		return set_fabric(grass, arg);
	case DEVICE:
		grass->options.device = arg;
		return NULL;
	case VIA:
		grass->options.via = arg;
		return NULL;
	case TIMEOUT:
		return grass_seconds("--timeout", arg, &grass->options.timeout_ns);
	}
	return gs_error_create(GS_ERROR_USAGE, "unknown option");
}

struct gs_error *grass_operand(struct cli *cli, const char *operand)
{
	struct grass *grass = grass_of(cli);
	const struct host_address *known = hosts_find(&grass->known, operand);
	struct host_address host;
	struct gs_error *err = known ? NULL : host_parse(operand, &host);

	return err ? err : hosts_add(&grass->chosen, known ? known : &host);
}

struct gs_error *grass_hosts(struct grass *grass, const struct hosts **ret)
{
	*ret = grass->chosen.count ? &grass->chosen : &grass->known;
	if ((*ret)->count)
		return NULL;
	return gs_error_create(GS_ERROR_USAGE,
			       "%s needs a host: NAME[@ADDRESS][:PORT], or -H with a file of them",
			       grass->cli.command);
}

struct gs_error *grass_host(struct grass *grass, const struct host_address **ret)
{
	const struct hosts *hosts;
	struct gs_error *err = grass_hosts(grass, &hosts);

	if (err)
		return err;
	if (hosts->count > 1)
		return gs_error_create(GS_ERROR_USAGE, "%s is about one host, not %zu",
				       grass->cli.command, hosts->count);
	*ret = &hosts->list[0];
	return NULL;
}

static bool ends_with(const char *name, const char *end)
{
	size_t size = strlen(name), end_size = strlen(end);

	return size > end_size && !strcmp(name + size - end_size, end);
}

// Whose certificate lies there beside the authority's.
static struct gs_error *find_monitor(const char *keys, char **ret)
{
	_cleanup_closedir_ DIR *directory = opendir(keys);
	_cleanup_free_ char *found = NULL;

	if (!directory)
		return gs_error_errno(GS_ERROR_USAGE, errno,
				      "%s: no keys there (--keys DIRECTORY; grass keys makes them)",
				      keys);
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (!ends_with(entry->d_name, ".crt") || !strcmp(entry->d_name, "ca.crt"))
			continue;
		if (found)
			return gs_error_create(GS_ERROR_USAGE,
					       "%s has several certificates: say which with --as "
					       "NAME",
					       keys);
		found = strndup(entry->d_name, strlen(entry->d_name) - strlen(".crt"));
		if (!found)
			return &gs_enomem;
	}
	if (!found)
		return gs_error_create(GS_ERROR_USAGE,
				       "%s has no monitor's certificate; grass keys makes one",
				       keys);
	*ret = no_cleanup_ptr(found);
	return NULL;
}

struct gs_error *grass_prepare(struct grass *grass)
{
	const char *keys = grass->keys ? grass->keys : KEYS_DIRECTORY;
	_cleanup_free_ char *found = NULL;

	// Whoever lends a session has proved who it is.
	if (grass->options.via)
		return NULL;

	struct gs_error *err = grass->as ? NULL : find_monitor(keys, &found);

	if (!err && !grass->options.fabric)
		err = set_fabric(grass, "verbs");
	if (err)
		return err;

	const char *name = grass->as ? grass->as : found;

	grass_keys_forget(&grass->options.identity);
	return grass_keys_find(keys, name, &grass->options.identity);
}

struct gs_error *grass_begin(struct grass *grass, const struct cli_parser *parser,
			     const struct hosts **ret)
{
	struct gs_error *err = cli_no_operands(parser);

	if (!err)
		err = grass_hosts(grass, ret);
	return err ? err : grass_prepare(grass);
}

struct gs_error *grass_open(struct grass *grass, bool symbols, struct host *host)
{
	const struct host_address *address;
	struct gs_error *err = grass_host(grass, &address);

	if (!err)
		err = grass_prepare(grass);
	return err ? err : host_open(host, address, &grass->options, symbols);
}

struct gs_error *grass_run_once(struct cli *cli, const char *detector, struct rows *rows)
{
	_cleanup_host_ struct host host = {};
	// Rows of what is asked for have no %pS.
	struct gs_error *err = grass_open(grass_of(cli), false, &host);

	return err ? err : host_run(&host, detector, rows);
}
