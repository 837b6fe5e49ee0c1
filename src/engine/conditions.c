// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/conditions.h>

#include <stdlib.h>
#include <string.h>

#include "util/array.h"

// Its strings are one piece of memory, which begins with the message.
struct entry {
	struct gs_condition condition;
	char *strings;
};

struct gs_conditions {
	struct entry *entries;
	size_t count, capacity;
	// What the last note took out.
	struct entry past;
};

struct gs_conditions *gs_conditions_create(void)
{
	return calloc(1, sizeof(struct gs_conditions));
}

void gs_conditions_destroy(struct gs_conditions *conditions)
{
	if (!conditions)
		return;
	for (size_t i = 0; i < conditions->count; i++)
		free(conditions->entries[i].strings);
	free(conditions->entries);
	free(conditions->past.strings);
	free(conditions);
}

static bool is_about(const struct gs_condition *condition, const struct gs_record *record)
{
	return condition->key == record->key && !strcmp(condition->alarm, record->alarm) &&
	       !strcmp(condition->detector, record->detector_name);
}

static bool fill(struct entry *entry, const struct gs_record *record)
{
	const char *message = gs_record_text(record);
	size_t message_size = strlen(message) + 1, alarm_size = strlen(record->alarm) + 1;
	size_t detector_size = strlen(record->detector_name) + 1;
	char *strings = malloc(message_size + alarm_size + detector_size);

	if (!strings)
		return false;
	memcpy(strings, message, message_size);
	memcpy(strings + message_size, record->alarm, alarm_size);
	memcpy(strings + message_size + alarm_size, record->detector_name, detector_size);
	*entry = (struct entry){
		.condition = {
			.message = strings,
			.alarm = strings + message_size,
			.detector = strings + message_size + alarm_size,
			.key = record->key,
			.severity = record->severity,
			.since_ns = record->wall_ns - record->lasted_ns,
			.told_ns = record->wall_ns,
		},
		.strings = strings,
	};
	return true;
}

static struct entry take(struct gs_conditions *conditions, size_t index)
{
	struct entry entry = conditions->entries[index];

	conditions->entries[index] = conditions->entries[--conditions->count];
	return entry;
}

static void drop_oldest(struct gs_conditions *conditions)
{
	size_t oldest = 0;

	for (size_t i = 1; i < conditions->count; i++) {
		if (conditions->entries[i].condition.told_ns <
		    conditions->entries[oldest].condition.told_ns)
			oldest = i;
	}
	free(take(conditions, oldest).strings);
}

const struct gs_condition *gs_conditions_note(struct gs_conditions *conditions,
					      const struct gs_record *record)
{
	struct entry fresh;

	if (record->kind != GS_RECORD_FINDING || record->state == GS_EVENT)
		return NULL;
	free(conditions->past.strings);
	conditions->past = (struct entry){};
	for (size_t i = 0; i < conditions->count; i++) {
		if (is_about(&conditions->entries[i].condition, record)) {
			conditions->past = take(conditions, i);
			break;
		}
	}
	if (record->state != GS_CLOSED && fill(&fresh, record)) {
		if (conditions->count == GS_CONDITIONS_MAX)
			drop_oldest(conditions);
		// Without memory it is as if its message had been lost.
		if (!gs_array_push(conditions->entries, conditions->count, conditions->capacity,
				   fresh))
			free(fresh.strings);
	}
	return conditions->past.strings ? &conditions->past.condition : NULL;
}

void gs_conditions_forget(struct gs_conditions *conditions, const char *detector,
			  uint64_t before_ns)
{
	for (size_t i = 0; i < conditions->count;) {
		const struct gs_condition *condition = &conditions->entries[i].condition;

		if (condition->told_ns < before_ns && !strcmp(condition->detector, detector))
			free(take(conditions, i).strings);
		else
			i++;
	}
}

size_t gs_conditions_count(const struct gs_conditions *conditions)
{
	return conditions->count;
}

const struct gs_condition *gs_conditions_at(const struct gs_conditions *conditions, size_t index)
{
	return &conditions->entries[index].condition;
}
