// SPDX-License-Identifier: Apache-2.0
#include "cli/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/journal.h"
#include "cli/json.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

static const struct severity {
	const char *text, *colour;
} severities[] = {
	[0] = { "", "" },
	[GS_INFO] = { "INFO", "\033[32m" },
	[GS_WARNING] = { "WARNING", "\033[33m" },
	[GS_ERROR] = { "ERROR", "\033[31m" },
	[GS_CRITICAL] = { "CRITICAL", "\033[1;31m" },
};

static const struct severity *severity_at(unsigned int severity)
{
	return &severities[severity <= GS_CRITICAL ? severity : 0];
}

static const struct severity *severity_of(const struct gs_record *record)
{
	return severity_at(record->severity);
}

static const char *const states[] = {
	[GS_EVENT] = "event",
	[GS_OPEN] = "open",
	[GS_CHANGED] = "changed",
	[GS_CLOSED] = "closed",
};

// The message of a finding; of one that has ended the last one. NULL: it was not seen.
static const char *message_of(const struct gs_record *record, const struct gs_condition *before)
{
	if (record->state != GS_CLOSED)
		return gs_record_text(record);
	return before ? before->message : NULL;
}

// Bytes of the item "name=value" that begins at @text, if it says who is to blame; else 0.
static size_t culprit_size(const char *text)
{
	static const char *const names[] = { "pid=", "comm=", "cpu=", "device=", "module=" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strncmp(text, names[i], strlen(names[i])))
			return strcspn(text, " ,;");
	}
	return 0;
}

// With the culprit in bold.
static void print_in_colour(const char *message)
{
	const char *rest = message;

	for (const char *p = message; *p; p++) {
		size_t size = p == message || p[-1] == ' ' ? culprit_size(p) : 0;

		if (!size)
			continue;
		text_print(stdout, rest, (size_t)(p - rest), false);
		fputs("\033[1m", stdout);
		text_print(stdout, p, size, false);
		fputs("\033[0m", stdout);
		rest = p + size;
		p = rest - 1;
	}
	text_print(stdout, rest, strlen(rest), false);
}

static void print_message(const struct stream *stream, const struct gs_record *record,
			  const struct gs_condition *before)
{
	const char *message = message_of(record, before);
	char lasted[TEXT_NUMBER_MAX];

	if (message && stream->colour && record->kind == GS_RECORD_FINDING)
		print_in_colour(message);
	else if (message)
		text_print(stdout, message, strlen(message), false);
	else
		printf("condition %s key=%" PRIu64 ", whose message was lost", record->alarm,
		       record->key);
	text_duration(lasted, record->lasted_ns);
	if (record->state == GS_CLOSED)
		printf(" (over after %s)", lasted);
	else if (record->state == GS_CHANGED && before)
		printf(" (was %s, lasts for %s)", severity_at(before->severity)->text, lasted);
	else if (record->state == GS_CHANGED)
		printf(" (lasts for %s)", lasted);
}

// Before each line of text.
static void print_time(const struct stream *stream, uint64_t wall_ns)
{
	char wall[TEXT_NUMBER_MAX];

	if (stream->journal)
		return;
	text_wall(wall, wall_ns);
	printf("%s ", wall);
}

static void print_text(const struct stream *stream, const struct gs_record *record,
		       const struct gs_condition *before)
{
	static const struct severity closed = { "CLOSED", "\033[32m" };
	const struct severity *severity =
		record->state == GS_CLOSED ? &closed : severity_of(record);
	const char *word = severity->text;

	if (record->kind == GS_RECORD_ROW)
		word = "ROW";
	else if (record->kind == GS_RECORD_METRIC)
		word = "METRIC";
	print_time(stream, record->wall_ns);
	if (stream->colour && record->kind == GS_RECORD_FINDING)
		printf("%s%-8s\033[0m ", severity->colour, word);
	else
		printf("%-8s ", word);
	if (stream->host)
		printf("%s ", stream->host);
	printf("%s: ", record->detector_name);
	print_message(stream, record, before);
	if (record->kind == GS_RECORD_METRIC && record->count)
		printf(" %s", gs_record_item_text(record, 0));
	if (record->flags & GS_RECORD_F_FAULT)
		fputs(" (uncertain: part of it could not be read)", stdout);
	putchar('\n');
}

static struct json_object *values_of(const struct gs_record *record, size_t first)
{
	struct json_object *values = json_object_new_object();

	for (size_t i = first; i < record->count; i++)
		json_add_item(values, &record->items[i]);
	return values;
}

static void print_json(const struct stream *stream, const struct gs_record *record,
		       const struct gs_condition *before)
{
	struct json_object *object = json_object_new_object();

	if (stream->host)
		json_add_string(object, "host", stream->host);
	if (stream->number)
		json_add_number(object, "number", *stream->number);
	json_add_time(object, "time", record->wall_ns, 9);
	json_add_string(object, "detector", record->detector_name);
	json_add_number(object, "run", record->run);
	switch (record->kind) {
	case GS_RECORD_FINDING:
	case GS_RECORD_ALARM:
		json_add_string(object, "kind", "finding");
		json_add_string(object, "severity", json_severity(record->severity));
		json_add_string(object, "state", states[record->state]);
		if (record->state != GS_EVENT) {
			json_add_string(object, "alarm", record->alarm);
			json_add_number(object, "key", record->key);
			json_add_number(object, "lasted_ns", record->lasted_ns);
		}
		json_add_string(object, "message", message_of(record, before));
		json_object_object_add(object, "values", values_of(record, 0));
		break;
	case GS_RECORD_METRIC:
		json_add_string(object, "kind", "metric");
		json_add_string(object, "name", gs_record_text(record));
		json_object_object_add(object, "value",
				       record->count ? json_item(&record->items[0]) : NULL);
		break;
	case GS_RECORD_ROW:
		json_add_string(object, "kind", "row");
		json_object_object_add(object, "values", values_of(record, 0));
		break;
	}
	json_add_bool(object, "uncertain", record->flags & GS_RECORD_F_FAULT);
	json_print(object, false);
}

static const struct gs_item *item_of(const struct gs_record *record, const char *name)
{
	for (size_t i = 0; i < record->count; i++) {
		if (!strcmp(record->items[i].name, name))
			return &record->items[i];
	}
	return NULL;
}

// @message as the detector itself makes it of its own rules.
static void print_match_json(const struct gs_record *record, const struct rule *rule,
			     const char *message, uint64_t untold)
{
	struct json_object *object = json_object_new_object();

	json_add_time(object, "time", record->wall_ns, 9);
	json_add_string(object, "detector", record->detector_name);
	json_add_number(object, "run", record->run);
	json_add_string(object, "kind", "finding");
	json_add_string(object, "severity", json_severity(rule->severity));
	json_add_string(object, "state", states[GS_EVENT]);
	json_add_string(object, "rule", rule->name);
	json_add_string(object, "message", message);
	json_add_number(object, "untold", untold);
	json_object_object_add(object, "values", values_of(record, 0));
	json_add_bool(object, "uncertain", record->flags & GS_RECORD_F_FAULT);
	json_print(object, false);
}

static void print_match_text(const struct stream *stream, const struct gs_record *record,
			     const struct rule *rule, const char *message, uint64_t untold)
{
	const struct severity *severity = severity_at(rule->severity);

	print_time(stream, record->wall_ns);
	printf("%s%-8s%s %s: ", stream->colour ? severity->colour : "", severity->text,
	       stream->colour ? "\033[0m" : "", record->detector_name);
	text_print(stdout, message, strlen(message), false);
	if (untold)
		printf(" (and %" PRIu64 " more before it)", untold);
	putchar('\n');
}

// Makes a finding of a message of the kernel that a rule matches, unless the detector did.
static void print_match(struct stream *stream, const struct gs_record *record)
{
	const struct gs_item *text, *time;
	bool told = stream->log_told;
	struct rule *rule;
	uint64_t untold;

	if (!stream->rules.count || strcmp(record->detector_name, "log") != 0)
		return;
	stream->log_told = record->kind == GS_RECORD_FINDING;
	if (record->kind != GS_RECORD_ROW || told)
		return;
	text = item_of(record, "text");
	time = item_of(record, "ts_ns");
	if (!text || text->type != GS_ITEM_STRING || !time)
		return;
	rule = rules_match(&stream->rules, text->string);
	if (!rule || !rule_tell(rule, time->u, &untold))
		return;

	_cleanup_free_ char *message = NULL;

	if (asprintf(&message, "%s: %s", rule->name, text->string) < 0)
		message = NULL;
	if (stream->journal)
		journal_begin(stdout, journal_priority(rule->severity, false));
	if (stream->json)
		print_match_json(record, rule, message ? message : rule->name, untold);
	else
		print_match_text(stream, record, rule, message ? message : rule->name, untold);
}

static void print_record(struct stream *stream, const struct gs_record *record)
{
	if ((record->kind == GS_RECORD_ROW && !stream->rows) ||
	    (record->kind == GS_RECORD_METRIC && !stream->metrics))
		return;

	const struct gs_condition *before = gs_conditions_note(stream->conditions, record);

	if (stream->journal)
		journal_begin(stdout,
			      journal_priority(record->severity, record->state == GS_CLOSED));
	if (stream->json)
		print_json(stream, record, before);
	else
		print_text(stream, record, before);
}

void stream_record(void *arg, const struct gs_record *record)
{
	struct stream *stream = arg;

	if (__atomic_load_n(&stream->broken, __ATOMIC_RELAXED))
		return;
	print_match(stream, record);
	print_record(stream, record);
	// Whoever reads the stream acts on it: each line leaves at once.
	if (fflush(stdout) || ferror(stdout))
		__atomic_store_n(&stream->broken, true, __ATOMIC_RELAXED);
}

void stream_stats(struct gs_detector *detector)
{
	struct gs_detector_info info;
	struct gs_run_stats stats;

	gs_detector_get_info(detector, &info);
	gs_detector_stats(detector, &stats);
	fprintf(stderr,
		"%s: %" PRIu64 " runs, last %.2f ms, longest %.2f ms, %" PRIu64 " records, %" PRIu64
		" lost, %" PRIu64 " faults, %" PRIu64 " stopped by the budget",
		info.name, stats.runs, stats.last_ns / 1e6, stats.max_ns / 1e6, stats.records,
		stats.records_lost, stats.faults, stats.stopped_budget);
	if (stats.stopped_bounds || stats.stopped_trap)
		fprintf(stderr, ", %" PRIu64 " by bounds, %" PRIu64 " by a trap",
			stats.stopped_bounds, stats.stopped_trap);
	if (stats.stop_site)
		fprintf(stderr, ", at %s", stats.stop_site);
	fputc('\n', stderr);
}
