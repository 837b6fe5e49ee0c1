// SPDX-License-Identifier: Apache-2.0
#include "cli/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/json.h"
#include "cli/state.h"
#include "util/cleanup.h"
#include "util/clock.h"

// A supervisor beats ten times a second at least.
#define BEAT_PATIENCE_NS UINT64_C(500000000)

// Whether there is another beat soon: times of engines and people's do not compare once somebody has set a clock.
static bool beats(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + BEAT_PATIENCE_NS, first = 0;

	for (bool again = false; clock_ns(CLOCK_MONOTONIC) < until; again = true) {
		_cleanup_error_ struct gs_error *err = gs_engine_heartbeat(engine, ret);

		if (err || ret->state != GS_MAILBOX_RUNNING)
			return false;
		if (!again)
			first = ret->counter;
		else if (ret->counter != first)
			return true;
		usleep(20000);
	}
	return false;
}

static const char *state_word(const struct gs_mailbox_heartbeat *beat,
			      const struct gs_mailbox_detector *row, uint32_t index)
{
	if (beat->stalled >> index & 1)
		return "stalled";
	switch (row->state) {
	case GS_MAILBOX_WAITING:
		return "waiting";
	case GS_MAILBOX_RUNNING:
		return "running";
	case GS_MAILBOX_STOPPED:
		return "stopped";
	default:
		return "empty";
	}
}

static struct json_object *detectors_of(const struct status *status,
					const struct gs_mailbox_heartbeat *beat)
{
	struct gs_engine *engine = status->serve->running.cli->engine;
	struct json_object *array = json_object_new_array();

	for (uint32_t i = 0; i < status->header->detector_count; i++) {
		struct gs_mailbox_detector row;

		if (!(beat->launched >> i & 1))
			continue;

		_cleanup_error_ struct gs_error *err = gs_engine_row(engine, i, &row);
		struct json_object *object = json_object_new_object();

		json_object_array_add(array, object);
		json_add_string(object, "name", row.name);
		json_add_string(object, "state", err ? "unknown" : state_word(beat, &row, i));
		json_add_number(object, "period_us", row.period_us);
		json_add_number(object, "runs", row.runs);
		json_add_number(object, "last_ns", row.last_ns);
		json_add_number(object, "longest_ns", row.max_ns);
		json_add_number(object, "faults", row.faults);
		json_add_number(object, "lost", row.lost);
		json_add_number(object, "stopped_early",
				row.stopped_budget + row.stopped_bounds + row.stopped_trap);
		json_add_number(object, "findings", row.records[GS_MAILBOX_FINDINGS]);
	}
	return array;
}

static struct json_object *open_conditions(const struct gs_conditions *conditions)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < gs_conditions_count(conditions); i++) {
		const struct gs_condition *condition = gs_conditions_at(conditions, i);
		struct json_object *object = json_object_new_object();

		json_object_array_add(array, object);
		json_add_string(object, "detector", condition->detector);
		json_add_string(object, "alarm", condition->alarm);
		json_add_number(object, "key", condition->key);
		json_add_string(object, "severity", json_severity(condition->severity));
		json_add_time(object, "since", condition->since_ns, 3);
		json_add_string(object, "message", condition->message);
	}
	return array;
}

// NULL: nobody follows them here.
static struct json_object *findings_of(struct running *running)
{
	if (running->quiet)
		return NULL;

	struct json_object *object = json_object_new_object(), *told = json_object_new_object();

	pthread_mutex_lock(&running->lock);
	json_object_object_add(object, "open", open_conditions(running->stream.conditions));
	for (unsigned int i = GS_INFO; i <= GS_CRITICAL; i++)
		json_add_number(told, json_severity(i), running->told[i]);
	pthread_mutex_unlock(&running->lock);
	json_object_object_add(object, "told", told);
	return object;
}

static struct json_object *monitors_of(const struct status *status)
{
	struct grass_monitor list[GS_MAILBOX_MONITORS];
	size_t count = grass_server_monitors(status->server, list);
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();

		json_object_array_add(array, object);
		json_add_string(object, "name", list[i].name);
		json_add_bool(object, "connected", list[i].connected);
	}
	return array;
}

static struct json_object *report(const struct status *status)
{
	struct running *running = &status->serve->running;
	struct cli *cli = running->cli;
	struct json_object *object = json_object_new_object();
	struct gs_mailbox_heartbeat beat = {};
	bool alive = beats(cli->engine, &beat);

	json_add_bool(object, "running", true);
	json_add_number(object, "pid", (uint64_t)getpid());
	json_add_time(object, "since", status->since_ns, 3);
	json_add_string(object, "target", gs_target_spec(cli->target));
	json_add_string(object, "release", status->header->release);
	json_add_string(object, "engine", gs_engine_name(cli->engine));
	json_add_string(object, "runs_on", gs_engine_why(cli->engine));
	json_add_string(object, "config", status->serve->config_path);
	json_add_number(object, "epoch", status->header->epoch);
	json_add_bool(object, "beats", alive);
	json_add_number(object, "port", grass_server_port(status->server));
	json_add_string(object, "fabric", status->fabric->name);
	json_object_object_add(object, "monitors", monitors_of(status));
	json_object_object_add(object, "detectors", detectors_of(status, &beat));
	json_object_object_add(object, "findings", findings_of(running));
	return object;
}

struct gs_error *status_open(struct status *status, const char *directory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	status->path = state_path(directory, "status");
	if (!status->path)
		return &gs_enomem;
	if (strlen(status->path) >= sizeof(address.sun_path))
		return gs_error_create(GS_ERROR_USAGE, "%s is too long for a socket's name",
				       status->path);
	strcpy(address.sun_path, status->path);
	// Of one that was killed: the directory is locked.
	unlink(status->path);
	status->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	// Whoever may connect is told everything.
	mode_t mask = umask(0177);
	bool ok = status->socket >= 0 &&
		  !bind(status->socket, (struct sockaddr *)&address, sizeof(address)) &&
		  !listen(status->socket, 8);
	int why = errno;

	umask(mask);
	return ok ? NULL : gs_error_errno(GS_ERROR_OTHER, why, "%s", status->path);
}

void status_answer(struct status *status)
{
	const struct timeval patience = { .tv_sec = 1 };
	_cleanup_close_ int fd = accept4(status->socket, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));

	struct json_object *object = report(status);
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	size_t size = text ? strlen(text) : 0, done = 0;
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + 1000000000;

	while (done < size && clock_ns(CLOCK_MONOTONIC) < until) {
		ssize_t n = send(fd, text + done, size - done, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	json_object_put(object);
}

void status_close(struct status *status)
{
	if (status->socket >= 0) {
		close(status->socket);
		unlink(status->path);
	}
	free(status->path);
	status->socket = -1;
	status->path = NULL;
}
