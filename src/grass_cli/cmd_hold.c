// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"
#include "grass_cli/grass.h"
#include "grass_cli/hold.h"

static const char help[] =
	"Usage: grass hold HOST... [-H FILE] [--socket PATH]\n"
	"Connect to hosts while they live, keep the connections, and lend them to other\n"
	"commands: those ask a dead host, which lets nobody in any more, with --via PATH.\n"
	"\n"
	"  --socket PATH   where; " HOLD_SOCKET " if not given\n"
	"\n"
	"One command at a time has a host's connection; others wait for it for --timeout.\n"
	"What comes and goes is told on standard error. Only this user can borrow.\n"
	"\n"
	"  grass hold -H /etc/gpusentinel/hosts --as held\n"
	"  grass ps web1 --via " HOLD_SOCKET "\n";

struct gs_error *cmd_hold(struct cli *cli, int argc, char **argv)
{
	enum { SOCKET = CLI_OPTION_COMMAND };
	static const struct option options[] = {
		{ "socket", required_argument, NULL, SOCKET },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "", options, false };
	struct grass *grass = grass_of(cli);
	const char *path = HOLD_SOCKET;
	const struct hosts *hosts;
	struct gs_error *err = NULL;
	struct hold *hold;

	while (cli_getopt(&parser, &err) != -1)
		path = optarg;
	if (err || parser.done)
		return err;
	err = grass_begin(grass, &parser, &hosts);
	if (!err && grass->options.via)
		err = gs_error_create(GS_ERROR_USAGE, "what is borrowed cannot be lent");
	if (err)
		return err;
	interrupt_catch();
	err = hold_start(path, hosts, &grass->options, cli_say, &hold);
	if (err)
		return err;
	while (interrupt_sleep(UINT64_C(1000000000)))
		;
	hold_stop(hold);
	return NULL;
}
