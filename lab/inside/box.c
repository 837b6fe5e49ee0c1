// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} tools[] = {
	{ "agent", agent_main },
	{ "procs", procs_main },
	{ "hog", hog_main },
	{ "forkbomb", forkbomb_main },
	{ "stuck-writer", stuck_writer_main },
	{ "sleepers", sleepers_main },
	{ "work", work_main },
	{ "victim", victim_main },
	{ "legal", legal_main },
	{ "cpu-hog", cpu_hog_main },
	{ "rt-hog", rt_hog_main },
	{ "leak", leak_main },
	{ "hold", hold_main },
	{ "thrash", thrash_main },
	{ "fd-hog", fd_hog_main },
	{ "socket-hog", socket_hog_main },
	{ "port-hog", port_hog_main },
	{ "threads", threads_main },
	{ "dm", dm_main },
	{ "reader", reader_main },
	{ "listener", listener_main },
	{ "udp-sink", udp_sink_main },
	{ "udp-flood", udp_flood_main },
	{ "churn", churn_main },
};

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
		if (strcmp(name, tools[i].name) == 0)
			return tools[i].main(argc, argv);
	}
	if (argc == 2 && strcmp(argv[1], "names") == 0) {
		for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
			puts(tools[i].name);
		return 0;
	}
	fprintf(stderr, "%s: not a name of this program\n", name);
	return 2;
}
