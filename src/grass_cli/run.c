// SPDX-License-Identifier: Apache-2.0
// One run of a detector, asked for and read from the ring of data.
#include <inttypes.h>
#include <time.h>

#include "grass_cli/host.h"
#include "grass_cli/records.h"
#include "util/cleanup.h"
#include "util/clock.h"

// Times that a run is asked for if what it wrote was overwritten before it was read.
enum { TRIES = 3 };

// The rows of one run of one detector.
struct collector {
	struct records records;
	uint32_t detector, generation;
	uint64_t run;
	struct rows *rows;
	// Number of the detector's record that comes next.
	uint64_t next;
};

static void keep(void *arg, const struct gs_record *record)
{
	struct collector *collector = arg;

	if (record->run == collector->run)
		rows_add(collector->rows, record);
}

static struct gs_error *take(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	struct collector *collector = arg;

	if (entry->detector != collector->detector || entry->generation != collector->generation)
		return NULL;
	collector->next = entry->sequence + 1;
	return records_take(&collector->records, entry, record);
}

static void cleanup_collector(struct collector *collector)
{
	records_deinit(&collector->records);
}

static struct gs_error *too_late(const struct host *host, const char *name)
{
	return gs_error_create(GS_ERROR_OTHER, "%s: detector %s does not end its run within %.1f s",
			       host->address->name, name, (double)host->timeout_ns / 1e9);
}

// Until a run that has fulfilled @kick has ended; it is the last one of @row.
static struct gs_error *wait_for_run(struct host *host, const struct collector *collector,
				     uint64_t kick, const char *name,
				     struct gs_mailbox_detector *row)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	for (;;) {
		struct gs_error *err =
			mailbox_read_detector(host->reader, collector->detector, row);

		if (err)
			return err;
		if (row->generation != collector->generation)
			return gs_error_create(GS_ERROR_OTHER, "%s: detector %s has been replaced",
					       host->address->name, name);
		if (row->kicked >= kick)
			return NULL;
		if (clock_ns(CLOCK_MONOTONIC) - since > host->timeout_ns)
			return too_late(host, name);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
}

// What @row counts was in the ring before it was counted. Ends early where some of it is lost.
static struct gs_error *collect(struct host *host, struct collector *collector,
				const struct gs_mailbox_detector *row)
{
	uint64_t gaps = mailbox_gaps(host->reader, GS_MAILBOX_DATA),
		 since = clock_ns(CLOCK_MONOTONIC);

	while (collector->next < row->records[GS_MAILBOX_DATA] &&
	       mailbox_gaps(host->reader, GS_MAILBOX_DATA) == gaps) {
		uint64_t count;
		struct gs_error *err =
			mailbox_poll(host->reader, GS_MAILBOX_DATA, take, collector, &count);

		if (err)
			return err;
		if (!count && clock_ns(CLOCK_MONOTONIC) - since > host->timeout_ns)
			return too_late(host, row->name);
	}
	return NULL;
}

// What the run did not see, by what the row counted since @before.
static struct gs_error *incomplete(const struct host *host,
				   const struct gs_mailbox_detector *before,
				   const struct gs_mailbox_detector *after, const struct rows *rows)
{
	const char *name = after->name, *at = host->address->name;

	if (after->stopped_budget != before->stopped_budget ||
	    after->stopped_bounds != before->stopped_bounds ||
	    after->stopped_trap != before->stopped_trap)
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: %s stopped before its end; %zu rows shown", at, name,
				       rows->count);
	if (after->lost != before->lost)
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: %s: %" PRIu64 " records did not fit; %zu rows shown",
				       at, name, after->lost - before->lost, rows->count);
	if (after->faults != before->faults)
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: %s: %" PRIu64
				       " loads failed; what they were to read shows as zero",
				       at, name, after->faults - before->faults);
	return NULL;
}

// @overrun_ret: some of it was overwritten before it could be read.
static struct gs_error *run_once(struct host *host, const char *name, struct rows *rows,
				 bool *overrun_ret)
{
	struct gs_mailbox_detector before, after;
	uint64_t gaps = mailbox_gaps(host->reader, GS_MAILBOX_DATA), kick;
	uint32_t index;
	struct gs_error *err = host_find_detector(host, name, &index, &before);

	*overrun_ret = false;
	if (err)
		return err;

	_cleanup_(cleanup_collector) struct collector collector = {
		.records = {
			.reader = host->reader,
			.symbolize = host_symbolize,
			.symbolize_arg = host,
			.kinds = 1u << GS_RECORD_ROW,
			.fn = keep,
			.arg = &collector,
		},
		.detector = index,
		.generation = before.generation,
		.rows = rows,
	};

	// What comes from here on has all of a run that starts after the request.
	err = mailbox_skip(host->reader, GS_MAILBOX_DATA);
	if (!err)
		err = mailbox_client_run(host->client, index, before.generation, &kick);
	if (!err)
		err = wait_for_run(host, &collector, kick, name, &after);
	if (err)
		return err;
	// A run that wrote nothing leaves the number where it was.
	collector.next = before.records[GS_MAILBOX_DATA];
	collector.run = after.runs - 1;
	err = collect(host, &collector, &after);
	if (err)
		return err;
	if (rows->out_of_memory)
		return &gs_enomem;
	*overrun_ret = mailbox_gaps(host->reader, GS_MAILBOX_DATA) != gaps;
	if (collector.records.unknown)
		return gs_error_create(GS_ERROR_OTHER,
				       "%s: nobody knows what %" PRIu64 " records of %s say",
				       host->address->name, collector.records.unknown, name);
	return incomplete(host, &before, &after, rows);
}

struct gs_error *host_run(struct host *host, const char *name, struct rows *rows)
{
	bool overrun;

	for (int i = 0; i < TRIES; i++) {
		struct gs_error *err = run_once(host, name, rows, &overrun);

		if ((err && err->code != GS_ERROR_INCOMPLETE) || !overrun)
			return err;
		gs_error_destroy(err);
		if (i + 1 < TRIES)
			rows_deinit(rows);
	}
	return gs_error_create(GS_ERROR_INCOMPLETE,
			       "%s: %s writes faster than can be read from here; %zu rows shown",
			       host->address->name, name, rows->count);
}
