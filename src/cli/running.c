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

#include "cli/journal.h"
#include "cli/protect.h"
#include "cli/search.h"
#include "cli/session.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"

// Signals that have come; false: one of them ends the run.
static bool take_signal(const struct running *running, const struct running_hooks *hooks, void *arg)
{
	struct signalfd_siginfo info;

	if (read(running->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGHUP || !hooks || !hooks->reload)
		return false;
	hooks->reload(arg);
	return true;
}

void running_wait(struct running *running, const struct running_hooks *hooks, void *arg)
{
	int64_t end =
		running->for_ns < 0 ? 0 : (int64_t)clock_ns(CLOCK_MONOTONIC) + running->for_ns;
	// No events are asked of standard output: what is left is POLLERR of a pipe without reader, POLLHUP of a terminal.
	struct pollfd fds[] = { { running->signals, POLLIN, 0 },
				{ running->quiet ? -1 : STDOUT_FILENO, 0, 0 },
				{ hooks ? hooks->fd : -1, POLLIN, 0 } };

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

		if ((n < 0 && errno != EINTR) || (n > 0 && fds[1].revents))
			return;
		if (n > 0 && fds[0].revents && !take_signal(running, hooks, arg))
			return;
		if (n > 0 && fds[2].revents)
			hooks->ready(arg);
		if (hooks && hooks->tick)
			hooks->tick(arg);
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

		gs_detector_get_info(running->chosen.list[i].detector, &info);
		if (running->stream.rules.count && !strcmp(info.name, "log"))
			gs_detector_add_kinds(running->chosen.list[i].detector,
					      1u << GS_RECORD_ROW);
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
	if (config_parse_period(text, ret))
		return NULL;
	return gs_error_create(GS_ERROR_USAGE,
			       "--period takes milliseconds from 0.001 to %u, e.g. 100 or 0.5, not "
			       "'%s'",
			       UINT32_MAX / 1000, text);
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
static struct gs_error *load_rules(const struct running *running, struct rules *ret)
{
	_cleanup_free_ char *shipped = NULL;

	if (running->rules)
		return rules_load(ret, running->rules);

	struct gs_error *err = search_rules(running->cli, &shipped);

	if (err)
		return err;
	err = rules_load(ret, shipped);
	if (err && err->code == GS_ERROR_OTHER) {
		cli_print_error(err);
		gs_error_destroy(err);
		err = NULL;
	}
	return err;
}

// Before it is removed, and while its records may still come.
static void hear_leaving(void *arg, struct gs_detector *detector)
{
	struct running *running = arg;
	struct gs_detector_info info;

	if (!running->quiet)
		stream_stats(detector);
	gs_detector_get_info(detector, &info);
	pthread_mutex_lock(&running->lock);
	gs_conditions_forget(running->stream.conditions, info.name, running->changed_ns);
	pthread_mutex_unlock(&running->lock);
}

static struct gs_error *set_detectors(struct running *running, char *const *names, size_t count)
{
	struct chosen *chosen = &running->chosen;

	chosen->period_us = running->period_us;
	chosen->params = &running->params;
	chosen->config = running->config;
	chosen->leaves = hear_leaving;
	chosen->arg = running;
	return chosen_set(chosen, running->cli, names, count);
}

struct gs_error *running_open(struct running *running, bool once, char *const *names, size_t count)
{
	struct cli *cli = running->cli;
	bool chosen = !cli->engine_name || !strcmp(cli->engine_name, "auto");
	struct gs_error *err = NULL;

	running->signals = -1;
	pthread_mutex_init(&running->lock, NULL);
	running->stream.json = cli->json;
	running->stream.journal = journal_takes(stdout);
	running->stream.colour = !cli->json && text_colour(stdout);
	running->stream.conditions = gs_conditions_create();
	if (!running->stream.conditions)
		return &gs_enomem;
	if (chosen)
		cli->engine_name = "auto";
	if (!once)
		err = take_signals(running);
	if (!err && !running->quiet)
		err = load_rules(running, &running->stream.rules);
	if (!err)
		err = cli_open_engine(cli);
	if (!err)
		err = set_detectors(running, names, count);
	if (!err && chosen)
		say_engine(cli);
	return err;
}

static bool is_chosen(const struct running *running, const char *name)
{
	for (size_t i = 0; i < running->chosen.count; i++) {
		struct gs_detector_info info;

		gs_detector_get_info(running->chosen.list[i].detector, &info);
		if (!strcmp(info.name, name))
			return true;
	}
	return false;
}

// What a detector has found while it was about to be removed. Under the lock.
static void forget_the_rest(struct running *running)
{
	struct gs_conditions *conditions = running->stream.conditions;

	for (size_t i = 0; i < gs_conditions_count(conditions);) {
		char name[64];

		snprintf(name, sizeof(name), "%s", gs_conditions_at(conditions, i)->detector);
		if (is_chosen(running, name)) {
			i++;
			continue;
		}

		size_t before = gs_conditions_count(conditions);

		gs_conditions_forget(conditions, name, UINT64_MAX);
		// A name that was cut.
		if (gs_conditions_count(conditions) == before)
			i++;
	}
}

struct gs_error *running_change(struct running *running, const struct config *config,
				char *const *names, size_t count)
{
	const struct config *before = running->config;
	struct rules rules = {};
	struct gs_error *err = running->quiet ? NULL : load_rules(running, &rules);

	running->config = config;
	running->changed_ns = clock_ns(CLOCK_REALTIME);
	if (!err)
		err = set_detectors(running, names, count);
	if (err) {
		running->config = running->chosen.config = before;
		rules_deinit(&rules);
		return err;
	}
	pthread_mutex_lock(&running->lock);

	struct rules old = running->stream.rules;

	running->stream.rules = rules;
	forget_the_rest(running);
	pthread_mutex_unlock(&running->lock);
	rules_deinit(&old);
	add_log_rows(running);
	return NULL;
}

static void take_record(void *arg, const struct gs_record *record)
{
	struct running *running = arg;

	pthread_mutex_lock(&running->lock);
	if (record->kind == GS_RECORD_FINDING && record->severity <= GS_CRITICAL &&
	    (record->state == GS_EVENT || record->state == GS_OPEN))
		running->told[record->severity]++;
	stream_record(&running->stream, record);
	pthread_mutex_unlock(&running->lock);
}

struct gs_error *running_start(struct running *running)
{
	const struct stream *stream = &running->stream;
	uint32_t kinds = 1u << GS_RECORD_FINDING | (uint32_t)stream->rows << GS_RECORD_ROW |
			 (uint32_t)stream->metrics << GS_RECORD_METRIC;

	protect(running->cli);
	gs_engine_set_kinds(running->cli->engine, running->quiet ? 0 : kinds);
	add_log_rows(running);
	return gs_engine_start(running->cli->engine, take_record, running);
}

struct gs_error *running_stop(struct running *running)
{
	gs_engine_stop(running->cli->engine);
	for (size_t i = 0; i < running->chosen.count && !running->quiet; i++)
		stream_stats(running->chosen.list[i].detector);

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
