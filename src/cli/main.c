// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/session.h"
#include "util/array.h"

static const struct cli_command commands[] = {
	{ "info", cmd_info, "what the memory says about its kernel" },
	{ "ps", cmd_ps, "the processes" },
	{ "mem", cmd_mem, "memory use, as /proc/meminfo shows it" },
	{ "dmesg", cmd_dmesg, "the kernel log" },
	{ "run", cmd_run, "run detectors and print what they find, until ^C" },
	{ "serve", cmd_serve, "run, and let monitors in, who reach it when this system is dead" },
	{ "status", cmd_status, "what the service does that runs here" },
	{ "top", cmd_top, "processes, CPUs, memory and findings on a screen" },
	{ "list", cmd_list, "the detectors, and with -t whether they fit the target" },
	{ "doctor", cmd_doctor, "what would stop this machine's GPU from watching it" },
	{ "dump", cmd_dump, "write the memory into an ELF vmcore" },
};

static const struct cli_program program = {
	.name = "gpusentinel",
	.usage = { "gpusentinel -t TARGET ", "" },
	.example = { "gpusentinel -t qemu:web ", "" },
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.help = "Usage: gpusentinel -t TARGET [OPTION]... COMMAND [ARGUMENT]...\n"
		"Watch a Linux machine through its memory alone, alive or dead.\n"
		"\n"
		"%s"
		"\n"
		"  -t TARGET        qemu:GUEST, qemu:/path/to/qmp.sock, core:FILE or host\n"
		"  -e ENGINE        cuda (a GPU), cpu, or auto;   --json  output for programs\n"
		"  --detectors DIR  where the detectors lie;   --budget N  their loop iterations\n"
		"  --layout, --system-map  for raw images and kernels without kallsyms\n\n"
		"  gpusentinel -t qemu:web run --for 60          report trouble, even its panic\n"
		"  gpusentinel -t core:vmcore dmesg --tail 20    a dead machine's last words\n\n"
		"'gpusentinel COMMAND --help' tells more, 'man gpusentinel' everything.\n",
	.short_options = options_short,
	.long_options = options_long,
	.set_option = options_set,
	.run_once = cli_run_once,
};

int main(int argc, char **argv)
{
	struct cli cli = { .program = &program };

	// What one step frees the next one uses: page faults are a good part of a short run.
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);

	int code = cli_main(&cli, argc, argv);

	cli_close(&cli);
	return code;
}
