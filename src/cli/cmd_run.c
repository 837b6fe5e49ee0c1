// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"
#include "cli/running.h"

static const char help[] =
	"Usage: gpusentinel -t TARGET run [OPTION]... [DETECTOR...|FILE.so...]\n"
	"Run detectors (all that are shipped, or the given ones), each on its period, and\n"
	"print what they find until ^C: \"TIME SEVERITY detector: message\". At the end, a\n"
	"line for each on standard error: its runs, time, faults, and what was lost.\n"
	"\n"
	"  --for SECONDS   end after so long\n"
	"  --once          run each once and end\n"
	"  --period MS     instead of the detectors' own periods; e.g. 0.5\n"
	"  -p, --param DETECTOR.NAME=VALUE\n"
	"                  set a detector's parameter; `gpusentinel list` shows them\n"
	"  --rules FILE    rules over the kernel's log, instead of the shipped ones;\n"
	"                  /dev/null: none\n"
	"  --rows          print their tables' rows too\n"
	"  --metrics       print their numbers too\n"
	"  --json          one object a line, written at once\n"
	"\n"
	"  gpusentinel -t qemu:web run\n"
	"  gpusentinel -t qemu:web run -p memory.warn_percent=20 memory\n"
	"  gpusentinel -t qemu:web run --for 10 --rows ./mine.so\n";

static struct gs_error *parse(struct running *running, struct cli_parser *parser, bool *once)
{
	enum { ONCE = RUNNING_OPTION_COMMAND };
	static const struct option options[] = {
		RUNNING_OPTIONS,
		{ "once", no_argument, NULL, ONCE },
		{},
	};
	struct gs_error *err = NULL;
	int c;

	parser->short_options = RUNNING_SHORT_OPTIONS;
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		if (c == ONCE)
			*once = true;
		else
			err = running_option(running, c, optarg);
	}
	if (!err && *once && running->for_ns >= 0)
		err = gs_error_create(GS_ERROR_USAGE, "--once and --for exclude each other");
	return err;
}

static struct gs_error *run(struct running *running, bool once, int argc, char **argv)
{
	struct gs_error *err = running_open(running, once, argv + optind, (size_t)(argc - optind));

	if (!err && once)
		return chosen_run_once(&running->chosen, stream_record, &running->stream);
	if (!err)
		err = running_start(running);
	if (err)
		return err;
	running_wait(running, NULL, NULL);
	return running_stop(running);
}

struct gs_error *cmd_run(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct running running = { .cli = cli, .for_ns = -1 };
	bool once = false;
	struct gs_error *err = parse(&running, &parser, &once);

	if (!err && !parser.done)
		err = run(&running, once, argc, argv);
	running_deinit(&running);
	return err;
}
