// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/grass.h"
#include "util/array.h"

static const struct cli_command commands[] = {
	{ "ping", cmd_ping, "is there anybody: round trips of heartbeats" },
	{ "watch", cmd_watch, "many hosts: who is dead, who is silent, what is found" },
	{ "exporter", cmd_exporter, "many hosts: metrics for Prometheus, alerts for Alertmanager" },
	{ "findings", cmd_findings, "what the host's detectors have found" },
	{ "detectors", cmd_detectors, "what the host's detectors do" },
	{ "params", cmd_params, "thresholds and other parameters of detectors" },
	{ "ps", cmd_ps, "the processes" },
	{ "mem", cmd_mem, "memory use, as /proc/meminfo shows it" },
	{ "dmesg", cmd_dmesg, "the kernel log" },
	{ "read", cmd_read, "a range of physical or virtual memory" },
	{ "dump", cmd_memory_dump, "write the memory into an ELF vmcore" },
	{ "hold", cmd_hold, "keep ways to hosts open that are there when they die" },
	{ "keys", cmd_keys, "make an authority, and certificates of hosts and monitors" },
};

static const struct cli_program program = {
	.name = "grass",
	.usage = { "grass ", " HOST" },
	.example = { "grass ", " web1" },
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.help = "Usage: grass COMMAND HOST... [OPTION]...\n"
		"Watch hosts from afar, alive or dead: HOST is NAME[@ADDRESS][:PORT].\n"
		"\n"
		"%s"
		"\n"
		"  -H, --hosts FILE     names hosts, one a line; '#' begins a comment\n"
		"  --keys DIR, --as NAME  where ca.crt, NAME.crt and NAME.key of this monitor lie\n"
		"  --fabric verbs|shm, --device NIC   how memory is reached\n"
		"  --via SOCKET         by what grass hold keeps;  --timeout SECONDS  for answers\n"
		"  --json               output for programs\n"
		"\n"
		"'grass COMMAND --help' tells more, 'man grass' everything.\n",
	.short_options = grass_short_options,
	.long_options = grass_long_options,
	.set_option = grass_set_option,
	.operand = grass_operand,
	.run_once = grass_run_once,
};

int main(int argc, char **argv)
{
	struct grass grass = {
		.cli.program = &program,
		.options.timeout_ns = UINT64_C(5000000000),
	};
	int code = cli_main(&grass.cli, argc, argv);

	grass_deinit(&grass);
	return code;
}
