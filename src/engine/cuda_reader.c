// SPDX-License-Identifier: Apache-2.0
// The thread that reads the mailbox, and delivers what it finds.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine/cuda_loop.h"

// How often the mailbox is read, and the detector table.
#define POLL_NS (SECOND / 10)
#define TABLE_NS SECOND
// How often is looked for pages that the target has begun to use.
#define REFRESH_NS (5 * SECOND)

static struct gs_error *deliver(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	struct cuda *cuda = arg;
	uint32_t row = entry->detector;
	struct gs_detector *detector = cuda->rows[row];
	uint64_t count = 0;

	// Removed meanwhile.
	if (!detector)
		return NULL;

	struct gs_error *err = detector_deliver(
		detector, record, entry->size, (uint64_t)cuda->header.wall_offset_ns,
		detector_kinds(detector), cuda->engine->fn, cuda->engine->arg, &count);

	cuda->delivered[row] += count;
	// A damaged record is not a reason to miss the others.
	gs_error_destroy(err);
	return NULL;
}

// Rows and metrics are most of what is written. Nobody reads what nobody wants.
static bool wants_data(const struct cuda *cuda)
{
	return (cuda->engine->kinds | cuda->engine->kinds_of_any) &
	       (1u << GS_RECORD_ROW | 1u << GS_RECORD_METRIC);
}

static void update_stats(struct cuda *cuda, uint32_t index, const struct gs_mailbox_detector *row)
{
	struct gs_detector *detector = cuda->rows[index];

	if (row->lost > cuda->lost[index])
		cuda->short_of_room |= UINT64_C(1) << index;
	cuda->lost[index] = row->lost;
	pthread_mutex_lock(&cuda->engine->lock);

	struct gs_run_stats *stats = &detector->stats;

	stats->runs = row->runs;
	stats->last_ns = row->last_ns;
	stats->max_ns = row->max_ns;
	stats->faults = row->faults;
	stats->fault_address = row->fault_address;
	stats->walks = row->walks;
	stats->records = cuda->delivered[index];
	if (!wants_data(cuda))
		stats->records += row->records[GS_MAILBOX_DATA];
	stats->records_lost = row->lost + mailbox_missed(cuda->reader, index) + detector->damaged;
	stats->stopped_budget = row->stopped_budget;
	stats->stopped_bounds = row->stopped_bounds;
	stats->stopped_trap = row->stopped_trap;
	if (row->stop != GS_STOP_NONE) {
		fat_site_name(detector->loaded->fat, row->stop_site, false, detector->stop_site,
			      sizeof(detector->stop_site));
		stats->stop_site = detector->stop_site;
	}
	pthread_mutex_unlock(&cuda->engine->lock);
}

// Rows that are being written: the next time.
static struct gs_error *read_table(struct cuda *cuda)
{
	struct gs_mailbox_detector rows[GS_MAILBOX_DETECTORS];
	uint32_t count = 0;
	uint64_t fresh;

	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++)
		count = cuda->rows[i] ? i + 1 : count;

	struct gs_error *err = mailbox_read_detectors(cuda->reader, count, rows, &fresh);

	for (uint32_t i = 0; i < count && !err; i++) {
		if (cuda->rows[i] && fresh >> i & 1)
			update_stats(cuda, i, &rows[i]);
	}
	return err;
}

struct gs_error *cuda_reader_drain(struct cuda *cuda, bool table)
{
	uint64_t count;
	struct gs_error *err =
		mailbox_poll(cuda->reader, GS_MAILBOX_FINDINGS, deliver, cuda, &count);

	if (!err && wants_data(cuda))
		err = mailbox_poll(cuda->reader, GS_MAILBOX_DATA, deliver, cuda, &count);
	return !err && table ? read_table(cuda) : err;
}

static bool sleep_until(struct cuda *cuda, uint64_t when)
{
	struct timespec until = clock_timespec(when);
	int result = 0;

	while (!cuda->quit && result != ETIMEDOUT)
		result = pthread_cond_timedwait(&cuda->reader_wake, &cuda->reader_lock, &until);
	return !cuda->quit;
}

// What the kernels need of this side. @pages: look for new ones.
static struct gs_error *tend(struct cuda *cuda, bool pages, uint64_t short_of_room)
{
	struct gs_error *err = NULL;

	pthread_mutex_lock(&cuda->lock);
	// What cannot be registered stays unreadable, and shows as faults of the detectors that want it.
	if (pages && cuda->launched)
		gs_error_destroy(cuda_memory_refresh(cuda));
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS && !err; i++) {
		if (!(short_of_room >> i & 1))
			continue;
		pthread_mutex_lock(&cuda->reader_lock);

		// Who removes it waits for cuda->lock.
		struct gs_detector *detector = cuda->rows[i];

		pthread_mutex_unlock(&cuda->reader_lock);
		if (detector)
			err = cuda_kernels_grow(cuda, detector);
	}
	pthread_mutex_unlock(&cuda->lock);
	return err;
}

static void *read_loop(void *arg)
{
	struct cuda *cuda = arg;
	uint64_t now = clock_ns(CLOCK_MONOTONIC), table = 0, pages = 0;
	struct gs_error *err = cuda_enter(cuda);
	bool entered = !err;

	pthread_mutex_lock(&cuda->reader_lock);
	while (!err && sleep_until(cuda, now + POLL_NS)) {
		now = clock_ns(CLOCK_MONOTONIC);

		bool new_table = now >= table, new_pages = now >= pages;

		if (new_table)
			table = now + TABLE_NS;
		if (new_pages)
			pages = now + REFRESH_NS;
		err = cuda_reader_drain(cuda, new_table);
		if (!err && (new_pages || cuda->short_of_room)) {
			uint64_t short_of_room = cuda->short_of_room;

			cuda->short_of_room = 0;
			pthread_mutex_unlock(&cuda->reader_lock);
			err = tend(cuda, new_pages, short_of_room);
			pthread_mutex_lock(&cuda->reader_lock);
		}
	}
	pthread_mutex_unlock(&cuda->reader_lock);
	if (entered)
		cuda_leave(cuda);
	engine_fail(cuda->engine, err);
	return NULL;
}

struct gs_error *cuda_reader_start(struct cuda *cuda)
{
	if (cuda->has_thread)
		return NULL;
	cuda->quit = false;

	int result = pthread_create(&cuda->thread, NULL, read_loop, cuda);

	if (result)
		return gs_error_errno(GS_ERROR_OTHER, result, "no thread to read the mailbox");
	cuda->has_thread = true;
	return NULL;
}

void cuda_reader_stop(struct cuda *cuda)
{
	if (!cuda->has_thread)
		return;
	pthread_mutex_lock(&cuda->reader_lock);
	cuda->quit = true;
	pthread_cond_broadcast(&cuda->reader_wake);
	pthread_mutex_unlock(&cuda->reader_lock);
	pthread_join(cuda->thread, NULL);
	cuda->has_thread = false;
}
