/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Which conditions hold, as the findings of detectors tell it one by one: those that are open, and what their last
 * messages were.
 */
#ifndef GPUSENTINEL_CONDITIONS_H
#define GPUSENTINEL_CONDITIONS_H

#include <gpusentinel/engine.h>

/** How many are kept in mind. One more pushes out the one of which nothing was told for longest. */
#define GS_CONDITIONS_MAX 4096

struct gs_conditions;

/** A condition as it was last told. */
struct gs_condition {
	const char *detector, *alarm;
	uint64_t key;
	enum gs_severity severity;
	const char *message;
	/** When it began, and when it was last told, nanoseconds since the epoch. */
	uint64_t since_ns, told_ns;
};

/** @return NULL if memory is short. */
struct gs_conditions *gs_conditions_create(void);
/** NULL is allowed. */
void gs_conditions_destroy(struct gs_conditions *conditions);

/**
 * Take note of a finding; other records, and events, change nothing.
 * @return what was known of its condition before, for one that has ended its last message; valid until the next call.
 * NULL: nothing was.
 */
const struct gs_condition *gs_conditions_note(struct gs_conditions *conditions,
					      const struct gs_record *record);

/** Of a detector that is there no more, forget what was told last before @p before_ns: nobody will tell its end. */
void gs_conditions_forget(struct gs_conditions *conditions, const char *detector,
			  uint64_t before_ns);

/** Those that are open, in no order; valid until the next note. */
size_t gs_conditions_count(const struct gs_conditions *conditions);
const struct gs_condition *gs_conditions_at(const struct gs_conditions *conditions, size_t index);

#endif
