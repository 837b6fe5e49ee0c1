// SPDX-License-Identifier: Apache-2.0
#include "cli/running.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/protect.h"
#include "cli/search.h"
#include "cli/session.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"

void running_wait(const struct running *running)
{
	int64_t end =
		running->for_ns < 0 ? 0 : (int64_t)clock_ns(CLOCK_MONOTONIC) + running->for_ns;
	// No events are asked for: what is left is POLLERR of a pipe without reader, POLLHUP of a terminal.
	struct pollfd fds[] = { { running->signals, POLLIN, 0 },
				{ running->quiet ? -1 : STDOUT_FILENO, 0, 0 } };

	while (!__atomic_load_n(&running->stream.broken, __ATOMIC_RELAXED) &&
	       !gs_engine_error(running->cli->engine)) {
		int64_t left = INT64_C(1000000000);

		if (running->for_ns >= 0) {
			left = end - (int64_t)clock_ns(CLOCK_MONOTONIC);
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
static struct gs_error *take_signals(struct running *running)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	running->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return running->signals < 0 ? gs_error_errno(GS_ERROR_OTHER, errno, "signalfd") : NULL;
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
static void add_log_rows(const struct running *running)
{
	for (size_t i = 0; i < running->chosen.count; i++) {
		struct gs_detector_info info;

		gs_detector_get_info(running->chosen.list[i], &info);
		if (running->stream.rules.count && !strcmp(info.name, "log"))
			gs_detector_add_kinds(running->chosen.list[i], 1u << GS_RECORD_ROW);
	}
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

struct gs_error *running_option(struct running *running, int c, const char *arg)
{
	switch (c) {
	case RUNNING_OPTION_FOR:
		return parse_seconds(arg, &running->for_ns);
	case RUNNING_OPTION_PERIOD:
		return parse_period(arg, &running->period_us);
	case 'p':
		return params_parse(&running->params, arg);
	case RUNNING_OPTION_RULES:
		running->rules = arg;
		break;
	case RUNNING_OPTION_ROWS:
		running->stream.rows = true;
		break;
	case RUNNING_OPTION_METRICS:
		running->stream.metrics = true;
		break;
	}
	return NULL;
}

// Who left the choice to us is told what it was, once there is something to run on it.
static void say_engine(struct cli *cli)
{
	fprintf(stderr, "gpusentinel: engine %s: %s\n", gs_engine_name(cli->engine),
		gs_engine_why(cli->engine));
}

// Without the shipped ones, detectors still run, and `log` has some of its own.
static struct gs_error *load_rules(struct running *running)
{
	_cleanup_free_ char *shipped = NULL;

	if (running->rules)
		return rules_load(&running->stream.rules, running->rules);

	struct gs_error *err = search_rules(running->cli, &shipped);

	if (err)
		return err;
	err = rules_load(&running->stream.rules, shipped);
	if (err && err->code == GS_ERROR_OTHER) {
		cli_print_error(err);
		gs_error_destroy(err);
		err = NULL;
	}
	return err;
}

struct gs_error *running_open(struct running *running, bool once, int argc, char **argv)
{
	struct cli *cli = running->cli;
	bool chosen = !cli->engine_name || !strcmp(cli->engine_name, "auto");
	struct gs_error *err = NULL;

	running->signals = -1;
	running->stream.json = cli->json;
	running->stream.colour = !cli->json && text_colour(stdout);
	running->stream.conditions = gs_conditions_create();
	if (!running->stream.conditions)
		return &gs_enomem;
	if (chosen)
		cli->engine_name = "auto";
	if (!once)
		err = take_signals(running);
	if (!err && !running->quiet)
		err = load_rules(running);
	if (!err)
		err = cli_open_engine(cli);
	if (!err && optind == argc)
		err = chosen_add_shipped(&running->chosen, cli, running->period_us);
	for (int i = optind; i < argc && !err; i++)
		err = chosen_add_named(&running->chosen, cli, argv[i], running->period_us);
	if (!err)
		err = params_set(&running->params, running->chosen.list, running->chosen.count);
	if (!err && chosen)
		say_engine(cli);
	return err;
}

struct gs_error *running_start(struct running *running)
{
	const struct stream *stream = &running->stream;
	uint32_t kinds = 1u << GS_RECORD_FINDING | (uint32_t)stream->rows << GS_RECORD_ROW |
			 (uint32_t)stream->metrics << GS_RECORD_METRIC;

	protect(running->cli);
	gs_engine_set_kinds(running->cli->engine, running->quiet ? 0 : kinds);
	add_log_rows(running);
	return gs_engine_start(running->cli->engine, stream_record, &running->stream);
}

struct gs_error *running_stop(struct running *running)
{
	gs_engine_stop(running->cli->engine);
	for (size_t i = 0; i < running->chosen.count && !running->quiet; i++)
		stream_stats(running->chosen.list[i]);

	const struct gs_error *failed = gs_engine_error(running->cli->engine);

	return failed ? gs_error_create(failed->code, "%s", failed->message) : NULL;
}

void running_deinit(struct running *running)
{
	if (running->signals > 0)
		close(running->signals);
	gs_conditions_destroy(running->stream.conditions);
	chosen_deinit(&running->chosen);
	rules_deinit(&running->stream.rules);
	params_deinit(&running->params);
}
