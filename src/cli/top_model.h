/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What `gpusentinel top` knows: the last rows of some detectors, and what all of them found.
 */
#ifndef GS_CLI_TOP_MODEL_H
#define GS_CLI_TOP_MODEL_H

#include <pthread.h>

#include <gpusentinel/conditions.h>

#include "cli/rows.h"

/** Detectors whose rows are shown. */
enum top_source_id {
	TOP_PROCESSES,
	TOP_MEMORY,
	TOP_SYSTEM,
	TOP_CPU,
	TOP_SOURCES,
};

/** The rows of a detector's last whole run, and of the one that is being delivered. */
struct top_source {
	struct rows rows, filling;
	uint64_t filling_run;
	/** Time of the rows, by the engine's clock; when the last one came, by ours. */
	uint64_t time_ns, filling_time_ns, came_ns;
	/** Whole runs so far. */
	uint64_t runs;
};

struct top_process {
	int64_t pid, ppid;
	uint64_t uid, threads, rss_kb, cpu_ns, start_ns;
	/** Of one CPU since the run before; negative: not known. */
	double cpu_percent;
	char state;
	bool kthread;
	/** Escaped; lives as long as the rows. */
	const char *comm;
};

struct top_processes {
	struct top_process *list;
	size_t count, capacity;
	uint64_t time_ns;
};

/** Findings that are no conditions, the last ones. */
#define TOP_EVENTS 64

struct top_event {
	enum gs_severity severity;
	uint64_t wall_ns;
	char *detector, *message;
};

struct top {
	pthread_mutex_t lock;
	struct top_source sources[TOP_SOURCES];
	/** Of the last run of `processes`, and of the one before, by pid. */
	struct top_processes processes, before;
	struct gs_conditions *conditions;
	/** A ring; number @ref event_count comes next. */
	struct top_event events[TOP_EVENTS];
	uint64_t event_count;
	bool out_of_memory;
};

/** @return false if memory is short. */
bool top_init(struct top *top);
void top_deinit(struct top *top);

/** A gs_record_fn; @p arg is the struct top. */
void top_record(void *arg, const struct gs_record *record);

/**
 * Take what has been delivered for whole, unless more of it may be under way. Under the lock.
 * @param all Nothing more will come.
 */
void top_settle(struct top *top, bool all);

/** Number of whole runs of `processes`; takes the lock. */
uint64_t top_runs(struct top *top);

/** The item @p name of a source that has a row for each value; NULL: there is none. Under the lock. */
const struct gs_item *top_value(const struct top *top, enum top_source_id id, const char *name);

enum top_order {
	TOP_BY_CPU,
	TOP_BY_RSS,
	TOP_BY_TIME,
	TOP_BY_PID,
	TOP_ORDERS,
};

/** Sort @ref processes, the first in front. Under the lock. */
void top_sort(struct top_process *list, size_t count, enum top_order order, bool reverse);

#endif
