// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "util/array.h"
#include "util/parse.h"

static const struct option all_programs[] = {
	{ "help", no_argument, NULL, CLI_OPTION_HELP },
	{ "version", no_argument, NULL, CLI_OPTION_VERSION },
	{ "json", no_argument, NULL, CLI_OPTION_JSON },
};

// Options of a command beside the common ones; its table and text stay this small.
enum { LONG_MAX_COUNT = 32, SHORT_MAX = 64 };

static struct gs_error *option_error(const struct cli *cli, int c, char **argv, const char *shorts)
{
	const char *program = cli->program->name, *command = cli->command;
	const char *problem = c == ':' ? "needs an argument" : "is no option";
	const char *space = command ? " " : "";
	// A known character after '?' stands for a long option that was given a value it does not take.
	bool unwanted = c == '?' && optopt && (optopt >= 256 || strchr(shorts, optopt));

	command = command ? command : "";
	if (optopt > 0 && optopt < 256 && !unwanted) {
		return gs_error_create(GS_ERROR_USAGE, "-%c %s; see '%s%s%s --help'", optopt,
				       problem, program, space, command);
	}

	const char *word = argv[optind - 1];

	if (unwanted)
		problem = "takes no argument";
	return gs_error_create(GS_ERROR_USAGE, "%s %s; see '%s%s%s --help'", word, problem, program,
			       space, command);
}

static size_t add_options(struct option *all, size_t count, const struct option *more)
{
	for (; more && more->name && count < LONG_MAX_COUNT; more++)
		all[count++] = *more;
	return count;
}

static int getopt_both(const struct cli *cli, int argc, char **argv, const char *mode,
		       const char *short_options, const struct option *long_options,
		       struct gs_error **err)
{
	struct option all[LONG_MAX_COUNT + 1] = {};
	char shorts[SHORT_MAX];
	size_t count = add_options(all, 0, long_options);

	count = add_options(all, count, cli->program->long_options);
	for (size_t i = 0; i < ARRAY_SIZE(all_programs) && count < LONG_MAX_COUNT; i++)
		all[count++] = all_programs[i];
	snprintf(shorts, sizeof(shorts), "%s:h%s%s", mode, cli->program->short_options,
		 short_options);
	opterr = 0;

	int c = getopt_long(argc, argv, shorts, all, NULL);

	if (c == '?' || c == ':') {
		*err = option_error(cli, c, argv, shorts);
		return -1;
	}
	return c == 'h' ? CLI_OPTION_HELP : c;
}

int cli_getopt_common(struct cli *cli, int argc, char **argv, const char *mode,
		      struct gs_error **err)
{
	return getopt_both(cli, argc, argv, mode, "", NULL, err);
}

struct gs_error *cli_set_option(struct cli *cli, int c, const char *arg)
{
	if (c != CLI_OPTION_JSON)
		return cli->program->set_option(cli, c, arg);
	cli->json = true;
	return NULL;
}

// With what stands for the program's own way of calling the command.
static void print_help(const struct cli *cli, const char *help)
{
	static const char usage[] = "$usage", example[] = "$example";

	while (*help) {
		size_t size = strcspn(help, "$");
		const char *const *around = NULL;

		fwrite(help, 1, size, stdout);
		help += size;
		if (!strncmp(help, usage, strlen(usage))) {
			around = cli->program->usage;
			help += strlen(usage);
		} else if (!strncmp(help, example, strlen(example))) {
			around = cli->program->example;
			help += strlen(example);
		} else if (*help) {
			putchar(*help++);
		}
		if (around)
			printf("%s%s%s", around[0], cli->command, around[1]);
	}
}

int cli_getopt(struct cli_parser *parser, struct gs_error **err)
{
	for (;;) {
		struct cli *cli = parser->cli;
		int c = getopt_both(cli, parser->argc, parser->argv, "", parser->short_options,
				    parser->long_options, err);

		if (c == -1 || c >= CLI_OPTION_COMMAND ||
		    (c < 256 && !strchr(cli->program->short_options, c)))
			return c;
		if (c == CLI_OPTION_HELP || c == CLI_OPTION_VERSION) {
			if (c == CLI_OPTION_HELP)
				print_help(cli, parser->help);
			else
				printf("%s " GS_VERSION "\n", cli->program->name);
			parser->done = true;
			return -1;
		}
		*err = cli_set_option(cli, c, optarg);
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
	const struct cli_program *program = parser->cli->program;
	struct gs_error *err = NULL;

	for (; optind < parser->argc && !err; optind++) {
		err = program->operand
			      ? program->operand(parser->cli, parser->argv[optind])
			      : gs_error_create(GS_ERROR_USAGE,
						"'%s' is one argument too many; see '%s %s --help'",
						parser->argv[optind], program->name,
						parser->cli->command);
	}
	return err;
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
