/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Whether this machine can be watched by its own GPU, also when its system is dead: what would keep the watch from beginning,
 * and what would end it just then.
 */
#ifndef GS_HOST_DOCTOR_H
#define GS_HOST_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum doctor_verdict {
	DOCTOR_OK,
	/** It works, but not as well as it could; or it cannot be told. */
	DOCTOR_WARNING,
	/** It keeps the watch from beginning, or ends it when the system dies. */
	DOCTOR_STOP,
};

/** A line of the report. */
struct doctor_finding {
	/** "kdump" */
	const char *name;
	enum doctor_verdict verdict;
	/** How it is, and what to do (empty: nothing). */
	char found[256], advice[256];
};

/** Something of a GPU that only its driver knows. */
enum doctor_answer { DOCTOR_UNKNOWN, DOCTOR_NO, DOCTOR_YES };

struct doctor_driver {
	/** The GPU's driver stays initialised while nobody uses it; its memory is encrypted towards the bus. */
	enum doctor_answer persistence, confidential;
};

/** Whom it is about; doctor_init() fills it in for this machine and process, tests for made ones. */
struct doctor {
	/** Goes before each path. */
	const char *root;
	/** RLIMIT_MEMLOCK; UINT64_MAX: unlimited. */
	uint64_t memlock;
	/** Capabilities in effect, a bit each. */
	uint64_t capabilities;
	struct doctor_driver driver;
};

void doctor_init(struct doctor *doctor);

/** Findings that there are at most. */
#define DOCTOR_FINDINGS_MAX 32

/** Examine everything. @return how many findings are in @p list, which has room for all. */
size_t doctor_examine(const struct doctor *doctor, struct doctor_finding *list);

/** The worst of them. */
enum doctor_verdict doctor_worst(const struct doctor_finding *list, size_t count);
/** "ok", "warning", "stop" */
const char *doctor_word(enum doctor_verdict verdict);

#endif
