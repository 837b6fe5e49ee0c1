// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/chosen.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/params.h"
#include "cli/protect.h"
#include "cli/search.h"
#include "cli/session.h"
#include "cli/stream.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

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

struct run {
	struct cli *cli;
	struct stream stream;
	struct chosen chosen;
	struct params params;
	// Of rules over the kernel's log; NULL: those that are shipped.
	const char *rules;
	uint32_t period_us;
	bool once;
	// How long; negative: until a signal comes.
	int64_t for_ns;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// Wait for a signal, the time that --for gave, the end of whoever reads standard output, or that of the detectors.
static void wait_for_end(const struct run *run, int signals)
{
	int64_t end = run->for_ns < 0 ? 0 : now_ns() + run->for_ns;
	// No events are asked for: what is left is POLLERR of a pipe without reader, POLLHUP of a terminal.
	struct pollfd fds[] = { { signals, POLLIN, 0 }, { STDOUT_FILENO, 0, 0 } };

	while (!__atomic_load_n(&run->stream.broken, __ATOMIC_RELAXED) &&
	       !gs_engine_error(run->cli->engine)) {
		int64_t left = INT64_C(1000000000);

		if (run->for_ns >= 0) {
			left = end - now_ns();
			if (left <= 0)
				return;
		}

		// Once a second, to see a write that failed for another reason than a closed pipe, and an engine
		// that failed.
		int ms = left >= 1000000000 ? 1000 : (int)((left + 999999) / 1000000);
		int n = poll(fds, ARRAY_SIZE(fds), ms);

		if ((n < 0 && errno != EINTR) || (n > 0 && (fds[0].revents || fds[1].revents)))
			return;
	}
}

// What ends a run. Blocked before any other thread exists, the driver's included, so that all inherit it and
// none of them dies of a ^C.
static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL);
}

// Who watches must outlast what is watched for. On a core nothing is at stake.
static void protect(struct cli *cli)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(cli->target, &count);

	if (gs_target_frozen(cli->target))
		return;

	_cleanup_error_ struct gs_error *err = protect_process(segments, count);

	if (err)
		cli_print_error(err);
}

// Rules look at them, whether they are shown or not.
static void add_log_rows(const struct run *run)
{
	for (size_t i = 0; i < run->chosen.count; i++) {
		struct gs_detector_info info;

		gs_detector_get_info(run->chosen.list[i], &info);
		if (run->stream.rules.count && !strcmp(info.name, "log"))
			gs_detector_add_kinds(run->chosen.list[i], 1u << GS_RECORD_ROW);
	}
}

static struct gs_error *run_periods(struct run *run, const sigset_t *set)
{
	_cleanup_close_ int signals = signalfd(-1, set, SFD_CLOEXEC);

	if (signals < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "signalfd");

	protect(run->cli);

	const struct stream *stream = &run->stream;

	gs_engine_set_kinds(run->cli->engine,
			    1u << GS_RECORD_FINDING | (uint32_t)stream->rows << GS_RECORD_ROW |
				    (uint32_t)stream->metrics << GS_RECORD_METRIC);
	add_log_rows(run);

	struct gs_error *err = gs_engine_start(run->cli->engine, stream_record, &run->stream);

	if (err)
		return err;
	wait_for_end(run, signals);
	gs_engine_stop(run->cli->engine);
	for (size_t i = 0; i < run->chosen.count; i++)
		stream_stats(run->chosen.list[i]);

	const struct gs_error *failed = gs_engine_error(run->cli->engine);

	return failed ? gs_error_create(failed->code, "%s", failed->message) : NULL;
}

static struct gs_error *parse_seconds(const char *text, int64_t *ret)
{
	char *end;
	double seconds = strtod(text, &end);

	// Written so that NaN fails too. A year is enough for --for.
	if (end == text || *end || !(seconds >= 0 && seconds <= 366 * 86400.0)) {
		return gs_error_create(GS_ERROR_USAGE,
				       "--for takes seconds, e.g. 60 or 0.5, not '%s'", text);
	}
	*ret = seconds * 1e9;
	return NULL;
}

static struct gs_error *parse_period(const char *text, uint32_t *ret)
{
	char *end;
	double us = strtod(text, &end) * 1000;

	if (end == text || *end || !(us >= 1 && us <= UINT32_MAX)) {
		return gs_error_create(GS_ERROR_USAGE,
				       "--period takes milliseconds from 0.001 to %u, e.g. 100 or "
				       "0.5, not '%s'",
				       UINT32_MAX / 1000, text);
	}
	// The nearest: decimal fractions are no binary ones.
	*ret = (uint32_t)(us + 0.5 < UINT32_MAX ? us + 0.5 : us);
	return NULL;
}

static struct gs_error *parse(struct run *run, struct cli_parser *parser)
{
	enum { FOR = CLI_OPTION_COMMAND, PERIOD, ONCE, RULES, ROWS, METRICS };
	static const struct option options[] = {
		{ "for", required_argument, NULL, FOR },
		{ "period", required_argument, NULL, PERIOD },
		{ "param", required_argument, NULL, 'p' },
		{ "once", no_argument, NULL, ONCE },
		{ "rules", required_argument, NULL, RULES },
		{ "rows", no_argument, NULL, ROWS },
		{ "metrics", no_argument, NULL, METRICS },
		{},
	};
	struct gs_error *err = NULL;
	int c;

	parser->short_options = "p:";
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		switch (c) {
		case FOR:
			err = parse_seconds(optarg, &run->for_ns);
			break;
		case PERIOD:
			err = parse_period(optarg, &run->period_us);
			break;
		case 'p':
			err = params_parse(&run->params, optarg);
			break;
		case ONCE:
			run->once = true;
			break;
		case RULES:
			run->rules = optarg;
			break;
		case ROWS:
			run->stream.rows = true;
			break;
		case METRICS:
			run->stream.metrics = true;
			break;
		}
	}
	if (!err && run->once && run->for_ns >= 0)
		err = gs_error_create(GS_ERROR_USAGE, "--once and --for exclude each other");
	return err;
}

// Who left the choice to us is told what it was, once there is something to run on it.
static void say_engine(struct cli *cli)
{
	fprintf(stderr, "gpusentinel: engine %s: %s\n", gs_engine_name(cli->engine),
		gs_engine_why(cli->engine));
}

// Without the shipped ones, detectors still run, and `log` has some of its own.
static struct gs_error *load_rules(struct run *run)
{
	_cleanup_free_ char *shipped = NULL;

	if (run->rules)
		return rules_load(&run->stream.rules, run->rules);

	struct gs_error *err = search_rules(run->cli, &shipped);

	if (err)
		return err;
	err = rules_load(&run->stream.rules, shipped);
	if (err && err->code == GS_ERROR_OTHER) {
		cli_print_error(err);
		gs_error_destroy(err);
		err = NULL;
	}
	return err;
}

// The operands name detectors.
static struct gs_error *run_detectors(struct run *run, int argc, char **argv)
{
	struct cli *cli = run->cli;
	sigset_t set;
	bool chosen = !cli->engine_name || !strcmp(cli->engine_name, "auto");

	run->stream.json = cli->json;
	run->stream.colour = !cli->json && text_colour(stdout);
	run->stream.conditions = gs_conditions_create();
	if (!run->stream.conditions)
		return &gs_enomem;
	if (chosen)
		cli->engine_name = "auto";
	if (!run->once)
		block_signals(&set);

	struct gs_error *err = load_rules(run);

	if (!err)
		err = cli_open_engine(cli);
	if (!err && optind == argc)
		err = chosen_add_shipped(&run->chosen, cli, run->period_us);
	for (int i = optind; i < argc && !err; i++)
		err = chosen_add_named(&run->chosen, cli, argv[i], run->period_us);
	if (!err)
		err = params_set(&run->params, run->chosen.list, run->chosen.count);
	if (!err && chosen)
		say_engine(cli);
	if (!err)
		err = run->once ? chosen_run_once(&run->chosen, stream_record, &run->stream)
				: run_periods(run, &set);
	return err;
}

struct gs_error *cmd_run(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct run run = { .cli = cli, .for_ns = -1 };
	struct gs_error *err = parse(&run, &parser);

	if (!err && !parser.done)
		err = run_detectors(&run, argc, argv);
	gs_conditions_destroy(run.stream.conditions);
	chosen_deinit(&run.chosen);
	rules_deinit(&run.stream.rules);
	params_deinit(&run.params);
	return err;
}
