// SPDX-License-Identifier: Apache-2.0
// The thread that reads the mailbox, and delivers what it finds.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine/cuda_loop.h"

// How often the mailbox is read, and the detector table.
#define POLL_NS (SECOND / 10)
#define TABLE_NS SECOND
// How often is looked for pages that the target has begun to use. Registering them may wait for all
// kernels, so it interrupts these for some milliseconds: each time twice as long to the next.
#define REFRESH_MIN_NS (5 * SECOND)
#define REFRESH_MAX_NS (80 * SECOND)

static struct gs_error *deliver(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	struct cuda *cuda = arg;
	uint32_t row = entry->detector;
	struct gs_detector *detector = cuda->rows[row];
	uint64_t count = 0;

	// Removed meanwhile.
	if (!detector)
		return NULL;

	struct gs_error *err = detector_deliver(detector, record, entry->size,
						(uint64_t)cuda->header.wall_offset_ns,
						cuda->engine->fn, cuda->engine->arg, &count);

	cuda->delivered[row] += count;
	// A damaged record is not a reason to miss the others.
	gs_error_destroy(err);
	return NULL;
}

static struct gs_error *update_stats(struct cuda *cuda, uint32_t index)
{
	struct gs_detector *detector = cuda->rows[index];
	struct gs_mailbox_detector row;
	struct gs_error *err = mailbox_read_detector(cuda->reader, index, &row);

	// A row that is being written: the next time.
	if (err && err->code != GS_ERROR_ENGINE) {
		gs_error_destroy(err);
		return NULL;
	}
	if (err)
		return err;
	pthread_mutex_lock(&cuda->engine->lock);

	struct gs_run_stats *stats = &detector->stats;

	stats->runs = row.runs;
	stats->last_ns = row.last_ns;
	stats->max_ns = row.max_ns;
	stats->faults = row.faults;
	stats->fault_address = row.fault_address;
	stats->walks = row.walks;
	stats->records = cuda->delivered[index];
	stats->records_lost = row.lost + mailbox_missed(cuda->reader, index);
	stats->stopped_budget = row.stopped_budget;
	stats->stopped_bounds = row.stopped_bounds;
	stats->stopped_trap = row.stopped_trap;
	if (row.stop != GS_STOP_NONE) {
		fat_site_name(detector->loaded->fat, row.stop_site, false, detector->stop_site,
			      sizeof(detector->stop_site));
		stats->stop_site = detector->stop_site;
	}
	pthread_mutex_unlock(&cuda->engine->lock);
	return NULL;
}

struct gs_error *cuda_reader_drain(struct cuda *cuda, bool table)
{
	uint64_t count;
	struct gs_error *err =
		mailbox_poll(cuda->reader, GS_MAILBOX_FINDINGS, deliver, cuda, &count);

	if (!err)
		err = mailbox_poll(cuda->reader, GS_MAILBOX_DATA, deliver, cuda, &count);
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS && table && !err; i++) {
		if (cuda->rows[i])
			err = update_stats(cuda, i);
	}
	return err;
}

static bool sleep_until(struct cuda *cuda, uint64_t when)
{
	struct timespec until = { .tv_sec = (time_t)(when / SECOND),
				  .tv_nsec = (long)(when % SECOND) };
	int result = 0;

	while (!cuda->quit && result != ETIMEDOUT)
		result = pthread_cond_timedwait(&cuda->reader_wake, &cuda->reader_lock, &until);
	return !cuda->quit;
}

static void *read_loop(void *arg)
{
	struct cuda *cuda = arg;
	uint64_t now = clock_ns(CLOCK_MONOTONIC), table = 0;
	uint64_t interval = REFRESH_MIN_NS, pages = now + interval;
	struct gs_error *err = cuda_enter(cuda);
	bool entered = !err;

	pthread_mutex_lock(&cuda->reader_lock);
	while (!err && sleep_until(cuda, now + POLL_NS)) {
		bool rows;

		now = clock_ns(CLOCK_MONOTONIC);
		rows = now >= table;
		if (rows)
			table = now + TABLE_NS;
		err = cuda_reader_drain(cuda, rows);
		if (!err && now >= pages) {
			bool done;

			pthread_mutex_unlock(&cuda->reader_lock);
			err = cuda_loop_refresh(cuda, &done);
			pthread_mutex_lock(&cuda->reader_lock);
			if (done && interval < REFRESH_MAX_NS)
				interval *= 2;
			pages = clock_ns(CLOCK_MONOTONIC) + interval;
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
