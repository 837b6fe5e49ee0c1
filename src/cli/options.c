// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

enum {
	LAYOUT = CLI_OPTION_PROGRAM,
	SYSTEM_MAP,
	DETECTORS,
	BUDGET,
};

const char options_short[] = "t:e:";

const struct option options_long[] = {
	{ "target", required_argument, NULL, 't' },
	{ "engine", required_argument, NULL, 'e' },
	{ "layout", required_argument, NULL, LAYOUT },
	{ "system-map", required_argument, NULL, SYSTEM_MAP },
	{ "detectors", required_argument, NULL, DETECTORS },
	{ "budget", required_argument, NULL, BUDGET },
	{},
};

struct gs_error *options_set(struct cli *cli, int c, const char *arg)
{
	switch (c) {
	case 't':
		cli->target_spec = arg;
		return NULL;
	case 'e':
		cli->engine_name = arg;
		return NULL;
	case LAYOUT:
		cli->layout = arg;
		return NULL;
	case SYSTEM_MAP:
		cli->system_map = arg;
		return NULL;
	case DETECTORS:
		cli->detectors = arg;
		return NULL;
	case BUDGET:
		return cli_number("--budget", arg, 1, UINT64_MAX, &cli->budget);
	}
	return gs_error_create(GS_ERROR_USAGE, "unknown option");
}
