// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/alerts.h"

#include <string.h>

#include "cli/json.h"
#include "util/array.h"
#include "util/cleanup.h"

struct known_alert {
	// What Alertmanager knows it by: its labels.
	char *labels;
	// As it was last posted.
	struct json_object *object;
	bool holds;
};

void alerts_deinit(struct alerts *alerts)
{
	for (size_t i = 0; i < alerts->count; i++) {
		free(alerts->known[i].labels);
		json_object_put(alerts->known[i].object);
	}
	free(alerts->known);
	*alerts = (struct alerts){};
}

static struct json_object *labels_of(const struct snapshot *snapshot, const struct alert *alert)
{
	const struct {
		const char *name;
		size_t at;
	} labels[] = {
		{ "alertname", alert->name },	 { "host", alert->host },
		{ "detector", alert->detector }, { "alarm", alert->alarm },
		{ "key", alert->key },		 { "severity", alert->severity },
	};
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		if (snapshot->text[labels[i].at])
			json_add_string(object, labels[i].name, snapshot->text + labels[i].at);
	}
	return object;
}

static struct known_alert *find(struct alerts *alerts, const char *labels)
{
	for (size_t i = 0; i < alerts->count; i++) {
		if (!strcmp(alerts->known[i].labels, labels))
			return &alerts->known[i];
	}
	return NULL;
}

// The alert as it is to be posted.
static void note(struct alerts *alerts, const struct snapshot *snapshot, const struct alert *alert,
		 uint64_t now_ns, uint64_t end_ns)
{
	struct json_object *object = json_object_new_object(), *about = json_object_new_object();
	struct json_object *labels = labels_of(snapshot, alert);
	const char *text = json_object_to_json_string_ext(labels, JSON_C_TO_STRING_PLAIN);
	struct known_alert *known = find(alerts, text);

	if (!known) {
		struct known_alert more = { .labels = strdup(text) };

		if (more.labels &&
		    gs_array_push(alerts->known, alerts->count, alerts->capacity, more))
			known = &alerts->known[alerts->count - 1];
		else
			free(more.labels);
	}
	json_object_object_add(object, "labels", labels);
	json_add_string(about, "summary", snapshot->text + alert->summary);
	json_object_object_add(object, "annotations", about);
	// Whoever watches may have a clock that goes behind the host's.
	json_add_time(object, "startsAt", alert->starts_ns < now_ns ? alert->starts_ns : now_ns, 3);
	json_add_time(object, "endsAt", end_ns, 3);
	if (!known) {
		json_object_put(object);
		return;
	}
	json_object_put(known->object);
	known->object = object;
	known->holds = true;
}

struct json_object *alerts_message(struct alerts *alerts, struct snapshot *const *snapshots,
				   size_t count, uint64_t now_ns, uint64_t end_ns,
				   bool *changed_ret)
{
	struct json_object *message = json_object_new_array();
	_cleanup_free_ bool *held = calloc(alerts->count + 1, sizeof(*held));
	size_t before = alerts->count;

	*changed_ret = false;
	if (!held)
		return message;
	for (size_t i = 0; i < before; i++) {
		held[i] = alerts->known[i].holds;
		alerts->known[i].holds = false;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < snapshots[i]->alert_count; j++)
			note(alerts, snapshots[i], &snapshots[i]->alerts[j], now_ns, end_ns);
	}
	for (size_t i = 0; i < alerts->count; i++) {
		struct known_alert *known = &alerts->known[i];

		if (i >= before || held[i] != known->holds)
			*changed_ret = true;
		if (i < before && held[i] && !known->holds)
			json_add_time(known->object, "endsAt", now_ns, 3);
		json_object_array_add(message, json_object_get(known->object));
	}
	return message;
}

void alerts_posted(struct alerts *alerts)
{
	size_t left = 0;

	for (size_t i = 0; i < alerts->count; i++) {
		struct known_alert *known = &alerts->known[i];

		if (known->holds) {
			alerts->known[left++] = *known;
			continue;
		}
		free(known->labels);
		json_object_put(known->object);
	}
	alerts->count = left;
}
