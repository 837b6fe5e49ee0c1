// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "util/array.h"
#include "util/parse.h"

static const char common_short[] = "t:e:h";

static const struct option common_long[] = {
	{ "target", required_argument, NULL, 't' },
	{ "engine", required_argument, NULL, 'e' },
	{ "help", no_argument, NULL, CLI_OPTION_HELP },
	{ "version", no_argument, NULL, CLI_OPTION_VERSION },
	{ "json", no_argument, NULL, CLI_OPTION_JSON },
	{ "layout", required_argument, NULL, CLI_OPTION_LAYOUT },
	{ "system-map", required_argument, NULL, CLI_OPTION_SYSTEM_MAP },
	{ "detectors", required_argument, NULL, CLI_OPTION_DETECTORS },
	{ "budget", required_argument, NULL, CLI_OPTION_BUDGET },
};

// Options of a command beside the common ones; its table and text stay this small.
enum { LONG_MAX_COUNT = 32, SHORT_MAX = 64 };

static struct gs_error *option_error(int c, char **argv, const char *shorts, const char *command)
{
	const char *problem = c == ':' ? "needs an argument" : "is no option";
	const char *space = command ? " " : "";
	// A known character after '?' stands for a long option that was given a value it does not take.
	bool unwanted = c == '?' && optopt && (optopt >= 256 || strchr(shorts, optopt));

	command = command ? command : "";
	if (optopt > 0 && optopt < 256 && !unwanted) {
		return gs_error_create(GS_ERROR_USAGE, "-%c %s; see 'gpusentinel%s%s --help'",
				       optopt, problem, space, command);
	}

	const char *word = argv[optind - 1];

	if (unwanted)
		problem = "takes no argument";
	return gs_error_create(GS_ERROR_USAGE, "%s %s; see 'gpusentinel%s%s --help'", word, problem,
			       space, command);
}

static int getopt_both(int argc, char **argv, const char *mode, const char *short_options,
		       const struct option *long_options, const char *command,
		       struct gs_error **err)
{
	struct option all[LONG_MAX_COUNT + 1] = {};
	char shorts[SHORT_MAX];
	size_t count = 0;

	for (; long_options && long_options->name && count < LONG_MAX_COUNT; long_options++)
		all[count++] = *long_options;
	for (size_t i = 0; i < ARRAY_SIZE(common_long) && count < LONG_MAX_COUNT; i++)
		all[count++] = common_long[i];
	snprintf(shorts, sizeof(shorts), "%s:%s%s", mode, common_short, short_options);
	opterr = 0;

	int c = getopt_long(argc, argv, shorts, all, NULL);

	if (c == '?' || c == ':') {
		*err = option_error(c, argv, shorts, command);
		return -1;
	}
	return c == 'h' ? CLI_OPTION_HELP : c;
}

int cli_getopt_common(int argc, char **argv, const char *mode, struct gs_error **err)
{
	return getopt_both(argc, argv, mode, "", NULL, NULL, err);
}

struct gs_error *cli_set_option(struct cli *cli, int c, const char *arg)
{
	switch (c) {
	case 't':
		cli->target_spec = arg;
		return NULL;
	case 'e':
		cli->engine_name = arg;
		return NULL;
	case CLI_OPTION_JSON:
		cli->json = true;
		return NULL;
	case CLI_OPTION_LAYOUT:
		cli->layout = arg;
		return NULL;
	case CLI_OPTION_SYSTEM_MAP:
		cli->system_map = arg;
		return NULL;
	case CLI_OPTION_DETECTORS:
		cli->detectors = arg;
		return NULL;
	case CLI_OPTION_BUDGET:
		return cli_number("--budget", arg, 1, UINT64_MAX, &cli->budget);
	}
	return gs_error_create(GS_ERROR_USAGE, "unknown option");
}

int cli_getopt(struct cli_parser *parser, struct gs_error **err)
{
	for (;;) {
		int c = getopt_both(parser->argc, parser->argv, "", parser->short_options,
				    parser->long_options, parser->cli->command, err);

		if (c == -1 || c >= CLI_OPTION_COMMAND || (c < 256 && c != 't' && c != 'e'))
			return c;
		if (c == CLI_OPTION_HELP || c == CLI_OPTION_VERSION) {
			fputs(c == CLI_OPTION_HELP ? parser->help : "gpusentinel " GS_VERSION "\n",
			      stdout);
			parser->done = true;
			return -1;
		}
		*err = cli_set_option(parser->cli, c, optarg);
		if (*err)
			return -1;
	}
}

struct gs_error *cli_getopt_none(struct cli_parser *parser)
{
	struct gs_error *err = NULL;

	parser->short_options = "";
	cli_getopt(parser, &err);
	if (err || parser->done)
		return err;
	return cli_no_operands(parser);
}

struct gs_error *cli_no_operands(const struct cli_parser *parser)
{
	if (optind >= parser->argc)
		return NULL;
	return gs_error_create(GS_ERROR_USAGE,
			       "'%s' is one argument too many; see 'gpusentinel %s --help'",
			       parser->argv[optind], parser->cli->command);
}

struct gs_error *cli_number(const char *what, const char *text, uint64_t min, uint64_t max,
			    uint64_t *ret)
{
	const char *p = text;
	uint64_t value;

	if (!gs_parse_decimal(&p, &value) || *p || value < min || value > max) {
		return gs_error_create(GS_ERROR_USAGE,
				       "%s takes a number from %ju to %ju, not '%s'", what,
				       (uintmax_t)min, (uintmax_t)max, text);
	}
	*ret = value;
	return NULL;
}
