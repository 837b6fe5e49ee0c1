/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a monitor makes of a host: of answers that come or do not, and of what its detectors found of the kernel.
 *
 * Times are the caller's, in nanoseconds of any clock that does not go back.
 */
#ifndef GS_GRASS_VERDICT_H
#define GS_GRASS_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/record.h>

enum verdict_state {
	/** Nothing is known yet. */
	VERDICT_NONE,
	VERDICT_ALIVE,
	/** The operating system is dead; what watches it answers. */
	VERDICT_OS_DEAD,
	/** Nobody answers: the host, its GPU, its NIC or the link is gone. */
	VERDICT_UNREACHABLE,
};

/** Answers that must be missing, or come, one after the other: a single one turns nothing over. */
struct verdict_rules {
	unsigned int misses, answers;
};

#define VERDICT_WHY_MAX 256

/** Set @ref rules, zero the rest. */
struct verdict {
	struct verdict_rules rules;
	enum verdict_state state;
	/** Since when; of one that is unreachable, since the first answer that was missing. */
	uint64_t since_ns;
	/** What it was before, and for how long; VERDICT_NONE: nothing. */
	enum verdict_state before;
	uint64_t lasted_ns;
	/** Of a system that is dead, of what does not answer; any bytes. Empty: there is nothing to say. */
	char why[VERDICT_WHY_MAX];

	/* How it comes to that. */
	unsigned int misses, answers;
	uint64_t first_miss_ns;
	bool reachable, panicked, standstill;
	char panic[VERDICT_WHY_MAX], stands[VERDICT_WHY_MAX], silence[VERDICT_WHY_MAX];
};

/** A finding, as far as it may tell that a kernel is dead. */
struct verdict_finding {
	const char *detector;
	/** Name of the table of conditions; empty for events. */
	const char *alarm;
	enum gs_state state;
	const char *message;
};

/* Each returns true if the verdict is another one now, or there is something else to say of it. */

bool verdict_answer(struct verdict *verdict, uint64_t now_ns);
/** @param why What went wrong. */
bool verdict_miss(struct verdict *verdict, uint64_t now_ns, const char *why);
bool verdict_note(struct verdict *verdict, uint64_t now_ns, const struct verdict_finding *finding);
/** What is watched has begun anew: what was found of it before does not hold. */
bool verdict_restart(struct verdict *verdict, uint64_t now_ns);

/** "alive", "os-dead", "unreachable", "none" */
const char *verdict_name(enum verdict_state state);

#endif
