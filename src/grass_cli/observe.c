// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/observe.h"

#include <inttypes.h>
#include <string.h>

#include "cli/json.h"
#include "grass_cli/exposition.h"
#include "util/array.h"
#include "util/clock.h"

// Labels are at most these, beside the host.
#define LABELS_MAX (OM_LABELS - 1)

struct gs_error *observed_init(struct observed *observed, const struct host_address *address)
{
	*observed = (struct observed){ .address = address };
	observed->conditions = gs_conditions_create();
	if (!observed->conditions)
		return &gs_enomem;
	pthread_mutex_init(&observed->lock, NULL);
	return NULL;
}

void observed_deinit(struct observed *observed)
{
	if (!observed->conditions)
		return;
	records_deinit(&observed->records);
	gs_conditions_destroy(observed->conditions);
	snapshot_put(observed->published);
	free(observed->kinds);
	pthread_mutex_destroy(&observed->lock);
}

struct snapshot *observed_snapshot(struct observed *observed)
{
	struct snapshot *snapshot = NULL;

	pthread_mutex_lock(&observed->lock);
	if (observed->published)
		snapshot = snapshot_get(observed->published);
	pthread_mutex_unlock(&observed->lock);
	return snapshot;
}

uint64_t observed_wall_ns(uint64_t monotonic_ns)
{
	return clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - monotonic_ns);
}

/*
 * What the watch tells.
 */

static void opened(void *arg, struct host *host, bool fresh)
{
	struct observed *observed = arg;

	records_deinit(&observed->records);
	observed->records = (struct records){
		.reader = host->reader,
		.symbolize = host_symbolize,
		.symbolize_arg = host,
		.kinds = 1u << GS_RECORD_METRIC,
		.arg = observed,
	};
	memset(observed->rows, 0, sizeof(observed->rows));
	if (!fresh)
		return;

	// What held there is told anew, if it still holds.
	struct gs_conditions *conditions = gs_conditions_create();

	if (!conditions)
		return;
	gs_conditions_destroy(observed->conditions);
	observed->conditions = conditions;
	for (size_t i = 0; i < observed->kind_count; i++)
		observed->kinds[i].event_ns = 0;
}

// A host may name as many detectors as it likes; not all are kept apart.
static struct observed_kind *find_kind(struct observed *observed, const char *detector,
				       enum gs_severity severity)
{
	struct observed_kind fresh = { .severity = severity };

	for (size_t i = 0; i < observed->kind_count; i++) {
		struct observed_kind *kind = &observed->kinds[i];

		if (kind->severity == severity && !strcmp(kind->detector, detector))
			return kind;
	}
	snprintf(fresh.detector, sizeof(fresh.detector), "%s", detector);
	if (observed->kind_count == OBSERVED_KINDS ||
	    !gs_array_push(observed->kinds, observed->kind_count, observed->kind_capacity, fresh))
		return NULL;
	return &observed->kinds[observed->kind_count - 1];
}

static void found(void *arg, const struct gs_record *record, uint64_t number)
{
	struct observed *observed = arg;
	struct observed_kind *kind;

	(void)number;
	if (record->kind != GS_RECORD_FINDING)
		return;
	gs_conditions_note(observed->conditions, record);
	if (record->state != GS_EVENT && record->state != GS_OPEN)
		return;
	kind = find_kind(observed, record->detector_name, record->severity);
	if (!kind)
		return;
	kind->count++;
	if (record->state == GS_EVENT) {
		// Its clock may go ahead of this one.
		uint64_t now_ns = clock_ns(CLOCK_REALTIME);

		kind->event_ns = record->wall_ns < now_ns ? record->wall_ns : now_ns;
		snprintf(kind->event, sizeof(kind->event), "%s", gs_record_text(record));
	}
}

static void judged(void *arg, const struct verdict *verdict, const char *release)
{
	// Each heartbeat brings it.
	(void)arg;
	(void)verdict;
	(void)release;
}

/*
 * What becomes of it.
 */

static void add(struct observed *observed, const char *family, double value)
{
	const struct om_label label = { "host", observed->address->name };

	snapshot_add(observed->next, family, &label, 1, value);
}

static void add_verdict(struct observed *observed, const struct verdict *verdict)
{
	for (enum verdict_state state = VERDICT_ALIVE; state <= VERDICT_UNREACHABLE; state++) {
		const struct om_label labels[] = {
			{ "host", observed->address->name },
			{ "grass_verdict", verdict_name(state) },
		};

		snapshot_add(observed->next, "grass_verdict", labels, ARRAY_SIZE(labels),
			     verdict->state == state);
	}
	if (verdict->state != VERDICT_NONE)
		add(observed, "grass_verdict_since_timestamp_seconds",
		    (double)observed_wall_ns(verdict->since_ns) / 1e9);
}

static void alert_verdict(struct observed *observed, const struct verdict *verdict)
{
	struct snapshot *next = observed->next;

	if (verdict->state != VERDICT_OS_DEAD && verdict->state != VERDICT_UNREACHABLE)
		return;
	snapshot_add_alert(
		next,
		&(struct alert){
			.name = snapshot_text(next, verdict->state == VERDICT_OS_DEAD
							    ? "GPUSentinelKernelDead"
							    : "GPUSentinelHostUnreachable"),
			.host = snapshot_text(next, observed->address->name),
			.severity = snapshot_text(next, json_severity(GS_CRITICAL)),
			.summary = snapshot_text(next, *verdict->why ? verdict->why : "no answer"),
			.starts_ns = observed_wall_ns(verdict->since_ns),
		});
}

static void add_heartbeat(struct observed *observed, const struct watch_look *look)
{
	const struct gs_ping_answer *pong = look->pong;

	observed->sent++;
	observed->answered += pong != NULL;
	add(observed, "grass_up", pong != NULL);
	add(observed, "grass_heartbeats", (double)observed->sent);
	add(observed, "grass_heartbeats_answered", (double)observed->answered);
	if (pong) {
		int64_t offset = look->host->header->wall_offset_ns;

		if (!observed->beat_ns || observed->beats != pong->answer.beats)
			observed->beat_ns = clock_ns(CLOCK_MONOTONIC);
		observed->beats = pong->answer.beats;
		add(observed, "grass_round_trip_seconds", (double)look->round_trip_ns / 1e9);
		add(observed, "grass_engine_beats", (double)pong->answer.beats);
		add(observed, "grass_engine_start_timestamp_seconds",
		    (double)(pong->start_ns + (uint64_t)offset) / 1e9);
	}
	if (observed->beat_ns) {
		const struct om_label label = { "host", observed->address->name };

		snapshot_add_since(observed->next, "grass_heartbeat_age_seconds", &label, 1,
				   observed->beat_ns);
	}
}

static void add_host(struct observed *observed, const struct gs_mailbox_header *header)
{
	const struct om_label labels[] = {
		{ "host", observed->address->name },
		{ "release", header->release },
		{ "engine", header->engine == GS_MAILBOX_CUDA ? "cuda" : "cpu" },
		{ "device", header->device },
		{ "target", header->target },
	};

	snapshot_add(observed->next, "grass_host", labels, ARRAY_SIZE(labels), 1);
}

static void add_detector(struct observed *observed, const struct gs_mailbox_detector *row,
			 bool stalled)
{
	struct om_label labels[] = {
		{ "host", observed->address->name },
		{ "detector", row->name },
		{ "reason", NULL },
	};
	const struct {
		const char *family;
		double value;
	} values[] = {
		{ "grass_detector_runs", (double)row->runs },
		{ "grass_detector_period_seconds", row->period_us / 1e6 },
		{ "grass_detector_last_run_seconds", (double)row->last_ns / 1e9 },
		{ "grass_detector_longest_run_seconds", (double)row->max_ns / 1e9 },
		{ "grass_detector_faults", (double)row->faults },
		{ "grass_detector_lost_records", (double)row->lost },
		{ "grass_detector_lost_metrics", (double)row->metrics_lost },
		{ "grass_detector_stalled", stalled },
	};
	const struct {
		const char *reason;
		uint64_t value;
	} stops[] = {
		{ "budget", row->stopped_budget },
		{ "bounds", row->stopped_bounds },
		{ "trap", row->stopped_trap },
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		snapshot_add(observed->next, values[i].family, labels, 2, values[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
		labels[2].value = stops[i].reason;
		snapshot_add(observed->next, "grass_detector_stops", labels, 3,
			     (double)stops[i].value);
	}
}

static bool is_launched(const struct gs_mailbox_detector *row)
{
	return row->name[0] && host_runs(row);
}

static void take_metric(void *arg, const struct gs_record *record)
{
	struct observed *observed = arg;
	struct om_label labels[OM_LABELS] = { { "host", observed->address->name } };
	char *values[LABELS_MAX] = {};
	char name[96], family[128];
	const char *text = gs_record_text(record);
	size_t count = 1;
	double value;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "{"), text);
	exposition_metric(record->detector_name, name, (double)record->items[0].u, family,
			  sizeof(family), &value);
	for (size_t i = 1; i < record->count && count < OM_LABELS; i++, count++) {
		bool ours = !strcmp(record->items[i].name, "host");

		values[count - 1] = strdup(gs_record_item_text(record, i));
		labels[count] = (struct om_label){
			.name = ours ? "exported_host" : record->items[i].name,
			.value = values[count - 1] ? values[count - 1] : "",
		};
	}
	snapshot_add(observed->next, family, labels, count, value);
	for (size_t i = 0; i < LABELS_MAX; i++)
		free(values[i]);
}

static struct gs_error *see_metric(void *arg, const struct gs_mailbox_metric *metric)
{
	struct observed *observed = arg;
	const struct gs_mailbox_detector *row = &observed->rows[metric->detector];

	// Of one that is no more, its values are not the latest of anything.
	if (!is_launched(row) || row->generation != metric->generation)
		return NULL;
	return records_take_metric(&observed->records, metric);
}

// Errors leave out what they are about: the next heartbeat tells if the link is gone.
static void add_tables(struct observed *observed, const struct watch_look *look)
{
	const struct gs_mailbox_header *header = look->host->header;
	uint64_t fresh, damaged = 0;
	struct gs_error *err = mailbox_read_detectors(look->host->reader, header->detector_count,
						      observed->rows, &fresh);

	for (uint32_t i = 0; i < header->detector_count && !err; i++) {
		if (is_launched(&observed->rows[i]))
			add_detector(observed, &observed->rows[i], look->pong->stalled >> i & 1);
	}
	observed->records.fn = take_metric;
	if (!err)
		err = mailbox_read_metrics(look->host->reader, see_metric, observed, &damaged);
	if (!err)
		add(observed, "grass_detector_damaged_metrics", (double)damaged);
	gs_error_destroy(err);
}

static void add_kinds(struct observed *observed)
{
	for (size_t i = 0; i < observed->kind_count; i++) {
		const struct observed_kind *kind = &observed->kinds[i];
		const struct om_label labels[] = {
			{ "host", observed->address->name },
			{ "detector", kind->detector },
			{ "severity", json_severity(kind->severity) },
		};

		snapshot_add(observed->next, "grass_findings", labels, ARRAY_SIZE(labels),
			     (double)kind->count);
		snapshot_add(observed->next, "grass_findings_open", labels, ARRAY_SIZE(labels),
			     (double)kind->open);
	}
}

static void alert_finding(struct observed *observed, const char *name, const char *detector,
			  const char *alarm, const char *key, enum gs_severity severity,
			  const char *summary, uint64_t starts_ns)
{
	struct snapshot *next = observed->next;
	char cut[OBSERVED_SUMMARY_SIZE];

	if (next->alert_count == OBSERVED_ALERTS)
		return;
	snprintf(cut, sizeof(cut), "%s", summary);
	snapshot_add_alert(next, &(struct alert){
					 .name = snapshot_text(next, name),
					 .host = snapshot_text(next, observed->address->name),
					 .detector = snapshot_text(next, detector),
					 .alarm = snapshot_text(next, alarm),
					 .key = snapshot_text(next, key),
					 .severity = snapshot_text(next, json_severity(severity)),
					 .summary = snapshot_text(next, cut),
					 .starts_ns = starts_ns,
				 });
}

static void add_findings(struct observed *observed)
{
	uint64_t now_ns = clock_ns(CLOCK_REALTIME);

	for (size_t i = 0; i < observed->kind_count; i++) {
		struct observed_kind *kind = &observed->kinds[i];

		kind->open = 0;
		if (kind->severity >= GS_ERROR && kind->event_ns &&
		    now_ns - kind->event_ns < OBSERVED_EVENT_NS)
			alert_finding(observed, "GPUSentinelEvent", kind->detector, "", "",
				      kind->severity, kind->event, kind->event_ns);
	}
	for (size_t i = 0; i < gs_conditions_count(observed->conditions); i++) {
		const struct gs_condition *condition = gs_conditions_at(observed->conditions, i);
		struct observed_kind *kind =
			find_kind(observed, condition->detector, condition->severity);
		char key[24];

		if (kind)
			kind->open++;
		snprintf(key, sizeof(key), "%" PRIu64, condition->key);
		if (condition->severity >= GS_ERROR)
			alert_finding(observed, "GPUSentinelFinding", condition->detector,
				      condition->alarm, key, condition->severity,
				      condition->message, condition->since_ns);
	}
	add_kinds(observed);
}

static void publish(struct observed *observed)
{
	struct snapshot *next = observed->next;

	observed->next = NULL;
	if (!snapshot_seal(next)) {
		snapshot_put(next);
		return;
	}
	pthread_mutex_lock(&observed->lock);

	struct snapshot *before = observed->published;

	observed->published = next;
	pthread_mutex_unlock(&observed->lock);
	snapshot_put(before);
}

static void looked(void *arg, const struct watch_look *look)
{
	struct observed *observed = arg;

	observed->next = snapshot_create();
	if (!observed->next)
		return;
	add_verdict(observed, look->verdict);
	alert_verdict(observed, look->verdict);
	add_heartbeat(observed, look);
	if (look->host)
		add_host(observed, look->host->header);
	if (look->pong)
		add_tables(observed, look);
	add_findings(observed);
	publish(observed);
}

void observed_callbacks(struct watch_options *options)
{
	options->verdict = judged;
	options->finding = found;
	options->opened = opened;
	options->looked = looked;
}
