// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "grass/keys.h"
#include "grass_cli/grass.h"

static const char help[] =
	"Usage: grass keys DIRECTORY ca | host NAME... | monitor NAME...\n"
	"Make an authority in a new directory, or certificates of hosts and monitors\n"
	"that are signed by it.\n"
	"\n"
	"  ca        ca.crt and ca.key\n"
	"  host      NAME.crt and NAME.key for a host that gpusentinel serve is to watch\n"
	"  monitor   the same for a monitor: grass --as NAME\n"
	"\n"
	"A host needs ca.crt and its own two files, and so does a monitor; ca.key stays\n"
	"where certificates are made. Two programs that watch at a time need a monitor's\n"
	"name each.\n"
	"\n"
	"  grass keys /root/keys ca\n"
	"  grass keys /root/keys host web1 web2\n"
	"  grass keys /root/keys monitor control-room\n";

static struct gs_error *make(const char *directory, const char *what, char **names, int count)
{
	struct gs_error *(*one)(const char *directory, const char *name) = NULL;
	struct gs_error *err = NULL;

	if (!strcmp(what, "host"))
		one = grass_keys_make_host;
	else if (!strcmp(what, "monitor"))
		one = grass_keys_make_monitor;
	else if (strcmp(what, "ca") != 0)
		return gs_error_create(GS_ERROR_USAGE, "keys makes ca, host or monitor, not '%s'",
				       what);
	if (!one && count)
		return gs_error_create(GS_ERROR_USAGE, "an authority has no name: '%s'", names[0]);
	if (one && !count)
		return gs_error_create(GS_ERROR_USAGE, "%s needs a name", what);
	if (!one)
		return grass_keys_make_ca(directory);
	for (int i = 0; i < count && !err; i++)
		err = one(directory, names[i]);
	return err;
}

struct gs_error *cmd_keys(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help, .short_options = "" };
	struct gs_error *err = NULL;

	cli_getopt(&parser, &err);
	if (err || parser.done)
		return err;
	if (argc - optind < 2)
		return gs_error_create(GS_ERROR_USAGE,
				       "keys needs a directory and what to make there: ca, host or "
				       "monitor");
	return make(argv[optind], argv[optind + 1], argv + optind + 2, argc - optind - 2);
}
