// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/session.h"
#include "util/array.h"

static const struct command {
	const char *name;
	struct gs_error *(*run)(struct cli *cli, int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "info", cmd_info, "what the memory says about its kernel" },
	{ "ps", cmd_ps, "the processes" },
	{ "mem", cmd_mem, "memory use, as /proc/meminfo shows it" },
	{ "dmesg", cmd_dmesg, "the kernel log" },
	{ "run", cmd_run, "run detectors and print what they find, until ^C" },
	{ "top", cmd_top, "processes, CPUs, memory and findings on a screen" },
	{ "list", cmd_list, "the detectors, and with -t whether they fit the target" },
	{ "dump", cmd_dump, "write the memory into an ELF vmcore" },
};

static void print_help(void)
{
	puts("Usage: gpusentinel -t TARGET [OPTION]... COMMAND [ARGUMENT]...\n"
	     "Watch a Linux machine through its memory alone, alive or dead.\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-7s %s\n", commands[i].name, commands[i].summary);
	puts("\n"
	     "  -t TARGET        qemu:GUEST of the lab, qemu:/path/to/qmp.sock or core:FILE\n"
	     "  -e ENGINE        where detectors run: cuda (a GPU), cpu, or auto\n"
	     "  --json           output for programs\n"
	     "  --detectors DIR  where the detectors lie;   --budget N  their loop iterations\n"
	     "  --layout, --system-map  for raw images and kernels without kallsyms\n\n"
	     "  gpusentinel -t qemu:web ps --sort -rss        who takes the memory of a guest\n"
	     "  gpusentinel -t qemu:web run --for 60          report trouble, even its panic\n"
	     "  gpusentinel -t core:vmcore dmesg --tail 20    a dead machine's last words\n\n"
	     "'gpusentinel COMMAND --help' tells more, 'man gpusentinel' everything.");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static struct gs_error *run(struct cli *cli, int argc, char **argv)
{
	struct gs_error *err = NULL;
	int c;

	// The leading '+' ends the common options at the command, whose own options are not known yet.
	while ((c = cli_getopt_common(argc, argv, "+", &err)) != -1) {
		switch (c) {
		case CLI_OPTION_HELP:
			print_help();
			return NULL;
		case CLI_OPTION_VERSION:
			puts("gpusentinel " GS_VERSION);
			return NULL;
		}
		err = cli_set_option(cli, c, optarg);
		if (err)
			return err;
	}
	if (err)
		return err;
	if (optind >= argc) {
		return gs_error_create(GS_ERROR_USAGE,
				       "no command given; see 'gpusentinel --help'");
	}

	const struct command *command = find_command(argv[optind]);

	if (!command) {
		return gs_error_create(GS_ERROR_USAGE,
				       "unknown command '%s'; see 'gpusentinel --help'",
				       argv[optind]);
	}
	cli->command = command->name;
	argc -= optind;
	argv += optind;
	// 0 makes glibc start over, with the permutation that '+' had switched off.
	optind = 0;
	return command->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	struct cli cli = {};

	// A reader that has gone shows as EPIPE: temporary files and detectors are still cleaned up.
	signal(SIGPIPE, SIG_IGN);
	// So does a file-size limit, as EFBIG.
	signal(SIGXFSZ, SIG_IGN);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	// What one step frees the next one uses: page faults are a good part of a short run.
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);

	struct gs_error *err = run(&cli, argc, argv);
	struct gs_error *output = cli_flush();
	int code = GS_OK;

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
	cli_close(&cli);
	return code;
}
