/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A host that is watched for others: what its watch tells becomes snapshots.
 */
#ifndef GS_GRASS_CLI_OBSERVE_H
#define GS_GRASS_CLI_OBSERVE_H

#include <pthread.h>

#include <gpusentinel/conditions.h>

#include "grass_cli/records.h"
#include "grass_cli/snapshot.h"
#include "grass_cli/watch.h"

/** Kinds of findings, by detector and severity, that are told apart. */
#define OBSERVED_KINDS 256
/** Alerts of one host, and bytes of what one says, at most: a host may make up any number. */
#define OBSERVED_ALERTS 64
#define OBSERVED_SUMMARY_SIZE 1024
/** An event has no end: so long it counts as something that holds. */
#define OBSERVED_EVENT_NS (UINT64_C(600) * 1000000000)

/** Findings of one detector and severity. */
struct observed_kind {
	char detector[sizeof(((struct gs_mailbox_detector *)NULL)->name)];
	enum gs_severity severity;
	uint64_t count, open;
	/** The last event: when, nanoseconds since the epoch, 0: none; and its message. */
	uint64_t event_ns;
	char event[256];
};

struct observed {
	const struct host_address *address;
	pthread_mutex_t lock;
	/** Under the lock. NULL: nothing is known yet. */
	struct snapshot *published;

	/* The host's thread alone. */
	struct gs_conditions *conditions;
	struct observed_kind *kinds;
	size_t kind_count, kind_capacity;
	uint64_t sent, answered;
	/** When the engine's counter was last seen to be another one. */
	uint64_t beats, beat_ns;
	/** Of the session that there is. */
	struct records records;
	struct gs_mailbox_detector rows[GS_MAILBOX_DETECTORS];
	struct snapshot *next;
};

struct gs_error *observed_init(struct observed *observed, const struct host_address *address);
void observed_deinit(struct observed *observed);

/** The last snapshot, for snapshot_put(). NULL: there is none yet. */
struct snapshot *observed_snapshot(struct observed *observed);

/** Set the callbacks; their argument is the struct observed. */
void observed_callbacks(struct watch_options *options);

/** Nanoseconds since the epoch of what a verdict says by another clock. */
uint64_t observed_wall_ns(uint64_t monotonic_ns);

#endif
