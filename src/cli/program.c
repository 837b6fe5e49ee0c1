// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void print_help(const struct cli_program *program)
{
	char list[2048] = "";
	size_t used = 0;

	for (size_t i = 0; i < program->command_count && used < sizeof(list); i++) {
		const struct cli_command *command = &program->commands[i];

		used += (size_t)snprintf(list + used, sizeof(list) - used, "  %-9s %s\n",
					 command->name, command->summary);
	}

	const char *at = strstr(program->help, "%s");

	printf("%.*s%s%s", (int)(at - program->help), program->help, list, at + 2);
}

static const struct cli_command *find_command(const struct cli_program *program, const char *name)
{
	for (size_t i = 0; i < program->command_count; i++) {
		if (!strcmp(program->commands[i].name, name))
			return &program->commands[i];
	}
	return NULL;
}

static struct gs_error *run(struct cli *cli, int argc, char **argv)
{
	const struct cli_program *program = cli->program;
	struct gs_error *err = NULL;
	int c;

	// The leading '+' ends the common options at the command, whose own options are not known yet.
	while ((c = cli_getopt_common(cli, argc, argv, "+", &err)) != -1) {
		switch (c) {
		case CLI_OPTION_HELP:
			print_help(program);
			return NULL;
		case CLI_OPTION_VERSION:
			printf("%s " GS_VERSION "\n", program->name);
			return NULL;
		}
		err = cli_set_option(cli, c, optarg);
		if (err)
			return err;
	}
	if (err)
		return err;
	if (optind >= argc) {
		return gs_error_create(GS_ERROR_USAGE, "no command given; see '%s --help'",
				       program->name);
	}

	const struct cli_command *command = find_command(program, argv[optind]);

	if (!command) {
		return gs_error_create(GS_ERROR_USAGE, "unknown command '%s'; see '%s --help'",
				       argv[optind], program->name);
	}
	cli->command = command->name;
	argc -= optind;
	argv += optind;
	// 0 makes glibc start over, with the permutation that '+' had switched off.
	optind = 0;
	return command->run(cli, argc, argv);
}

int cli_main(struct cli *cli, int argc, char **argv)
{
	// A reader that has gone shows as EPIPE: temporary files and detectors are still cleaned up.
	signal(SIGPIPE, SIG_IGN);
	// So does a file-size limit, as EFBIG.
	signal(SIGXFSZ, SIG_IGN);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);

	struct gs_error *err = run(cli, argc, argv);
	struct gs_error *output = cli_flush();
	int code = cli->exit_code;

	if (err) {
		code = err->code;
		cli_print_error(err);
	}
	if (output) {
		if (!err)
			code = output->code;
		cli_print_error(output);
	}
	gs_error_destroy(err);
	gs_error_destroy(output);
	return code;
}
