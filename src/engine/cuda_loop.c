// SPDX-License-Identifier: Apache-2.0
// Kernels that never return, and the mailbox that they write: launching, ending, and reading.
//
// After the launch the GPU needs neither the driver nor this process. What does need the driver, such as
// adding a detector, may wait for all kernels to end; so they are told to return first, and go on where they
// were: everything that a loop knows lies in GPU memory.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/cuda.h"
#include "mailbox/layout.h"
#include "util/array.h"
#include "util/cleanup.h"

#define SECOND UINT64_C(1000000000)

// Beats are what a monitor sees first: often enough to tell a dead GPU in the blink of an eye.
#define BEAT_NS UINT64_C(1000000)
// A run that takes so long, and so many periods, has stalled.
#define STALL_NS SECOND
#define STALL_PERIODS 10
// Kernels look at their flag at least once a millisecond, unless they are in a run.
#define STOP_NS (10 * SECOND)
// How often the mailbox is read, and the detector table.
#define POLL_NS (SECOND / 10)
#define TABLE_NS SECOND
// How often is looked for pages that the target has begun to use. Registering them may wait for all
// kernels, so it interrupts these for some milliseconds: each time twice as long to the next.
#define REFRESH_MIN_NS (5 * SECOND)
#define REFRESH_MAX_NS (80 * SECOND)

static struct gs_error *read_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct cuda *cuda = arg;
	unsigned int result =
		cuda->api.copy_from_device(buf, cuda->mailbox + offset, size, cuda->reader_stream);

	if (!result)
		result = cuda->api.stream_wait(cuda->reader_stream);
	return cuda_error(&cuda->api, result, "reading the mailbox");
}

static struct gs_error *create_stream(struct cuda *cuda, struct CUstream_st **ret)
{
	return cuda_error(&cuda->api, cuda->api.stream_create(ret, CUDA_STREAM_NON_BLOCKING),
			  "cannot create a stream");
}

static struct gs_error *fill_header(struct cuda *cuda)
{
	static const uint64_t slots[] = { MAILBOX_FINDING_SLOTS, MAILBOX_DATA_SLOTS };
	struct gs_mailbox_header *header = &cuda->header;
	struct gs_kernel *kernel = cuda->engine->kernel;

	mailbox_layout(header, GS_MAILBOX_CUDA, slots);
	snprintf(header->release, sizeof(header->release), "%s", gs_kernel_release(kernel));
	snprintf(header->target, sizeof(header->target), "%s",
		 gs_target_spec(gs_kernel_target(kernel)));
	snprintf(header->device, sizeof(header->device), "%.63s", cuda->description);

	struct gs_error *err = cuda_wall_offset(cuda, &header->wall_offset_ns);

	mailbox_seal_header(header);
	return err;
}

// Under cuda->lock, in the context; nothing runs yet.
static struct gs_error *create_mailbox(struct cuda *cuda)
{
	struct gs_error *err = NULL;

	if (cuda->reader)
		return NULL;
	// After an attempt that failed half way, only what is missing.
	cuda_loop_close(cuda);
	err = fill_header(cuda);
	if (!err)
		err = cuda_alloc(cuda, "the mailbox", cuda->header.size, &cuda->mailbox);
	if (!err)
		err = cuda_zero(cuda, cuda->mailbox, cuda->header.size);
	if (!err)
		err = cuda_write(cuda, cuda->mailbox, &cuda->header, sizeof(cuda->header));
	if (!err)
		err = cuda_alloc(cuda, "the table of checksums", sizeof(struct gs_crc32c),
				 &cuda->crc32c);
	if (!err)
		err = cuda_write(cuda, cuda->crc32c, mailbox_crc32c(), sizeof(struct gs_crc32c));
	if (!err)
		err = cuda_alloc(cuda, "the supervisor", sizeof(struct gs_supervisor),
				 &cuda->supervisor);
	if (!err)
		err = create_stream(cuda, &cuda->supervisor_stream);
	if (!err)
		err = create_stream(cuda, &cuda->reader_stream);
	return err ? err : mailbox_reader_create(read_mailbox, cuda, &cuda->reader);
}

void cuda_loop_close(struct cuda *cuda)
{
	mailbox_reader_destroy(cuda->reader);
	cuda->reader = NULL;
	if (cuda->reader_stream)
		cuda->api.stream_destroy(cuda->reader_stream);
	if (cuda->supervisor_stream)
		cuda->api.stream_destroy(cuda->supervisor_stream);
	cuda->reader_stream = cuda->supervisor_stream = NULL;
	cuda_free(cuda, &cuda->supervisor);
	cuda_free(cuda, &cuda->crc32c);
	cuda_free(cuda, &cuda->mailbox);
}

static cuda_address row_address(const struct cuda *cuda, int row)
{
	return cuda->mailbox + cuda->header.detectors.offset +
	       (uint64_t)row * sizeof(struct gs_mailbox_detector);
}

// Rows count from the start of the mailbox: a row's next detector goes on with its sequences.
static struct gs_error *write_row(struct cuda *cuda, int index, const char *name,
				  uint32_t period_ms, enum gs_mailbox_state state)
{
	struct gs_mailbox_detector old, row;
	struct gs_error *err = cuda_read(cuda, &old, row_address(cuda, index), sizeof(old));

	if (err)
		return err;
	mailbox_row(&row, name, period_ms);
	memcpy(row.records, old.records, sizeof(row.records));
	row.state = state;
	row.crc = mailbox_crc(&row, sizeof(row), &row.crc);
	return cuda_write(cuda, row_address(cuda, index), &row, sizeof(row));
}

// A detector's first launch: its row, its control, its context.
static struct gs_error *prepare(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	const struct cuda_module *module = detector->loaded->code;
	int row = 0;

	if (mine->row >= 0)
		return NULL;
	while (row < GS_MAILBOX_DETECTORS && cuda->rows[row])
		row++;
	if (row == GS_MAILBOX_DETECTORS)
		return gs_error_create(GS_ERROR_ENGINE, "%s: the mailbox has room for %d detectors",
				       detector->name, GS_MAILBOX_DETECTORS);

	struct gs_control control = {
		.stop = 1,
		.period_ns = (uint64_t)detector->period_ms * 1000000,
		.budget = detector->budget,
	};
	struct gs_ctx ctx = {
		.map = cuda->memory.map,
		.slots = module->slots,
		.out = mine->out,
		.out_size = (uint32_t)mine->out_size,
		.thread_count = 1,
	};

	mailbox_writer(&control.writer, &cuda->header, cuda->mailbox, cuda->crc32c, (uint32_t)row);

	struct gs_error *err =
		write_row(cuda, row, detector->name, detector->period_ms, GS_MAILBOX_WAITING);

	if (!err)
		err = cuda_write(cuda, mine->control, &control, sizeof(control));
	if (!err)
		err = cuda_write(cuda, mine->ctx, &ctx, offsetof(struct gs_ctx, tlb));
	if (err)
		return err;
	mine->row = row;
	pthread_mutex_lock(&cuda->reader_lock);
	cuda->rows[row] = detector;
	cuda->delivered[row] = 0;
	pthread_mutex_unlock(&cuda->reader_lock);
	return NULL;
}

static struct gs_error *prepare_supervisor(struct cuda *cuda)
{
	_cleanup_free_ struct gs_supervisor *supervisor = calloc(1, sizeof(*supervisor));

	if (!supervisor)
		return &gs_enomem;
	supervisor->stop = 1;
	supervisor->period_ns = BEAT_NS;
	supervisor->heartbeat = cuda->mailbox + cuda->header.heartbeat.offset;
	supervisor->crc32c = cuda->crc32c;
	for (struct gs_detector *d = cuda->engine->detectors; d; d = d->next) {
		const struct cuda_detector *mine = d->code;
		uint64_t periods = STALL_PERIODS * (uint64_t)d->period_ms * 1000000;

		supervisor->controls[mine->row] = mine->control;
		supervisor->stall_ns[mine->row] = periods > STALL_NS ? periods : STALL_NS;
	}
	return cuda_write(cuda, cuda->supervisor, supervisor, sizeof(*supervisor));
}

static struct gs_error *set_stop(struct cuda *cuda, uint64_t stop)
{
	struct gs_error *err = cuda_write(cuda, cuda->supervisor, &stop, sizeof(stop));

	_Static_assert(offsetof(struct gs_supervisor, stop) == 0, "the flag comes first");
	_Static_assert(offsetof(struct gs_control, stop) == 0, "the flag comes first");
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		const struct cuda_detector *mine = d->code;

		if (mine->row >= 0)
			err = cuda_write(cuda, mine->control, &stop, sizeof(stop));
	}
	return err;
}

static struct gs_error *launch_all(struct cuda *cuda)
{
	void *parameters[] = { &cuda->supervisor };
	struct gs_error *err = cuda_launch(cuda, cuda->supervisor_function, cuda->supervisor_stream,
					   parameters, "the supervisor");

	if (!err)
		cuda->launched = true;
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		struct cuda_detector *mine = d->code;
		struct cuda_module *module = d->loaded->code;
		void *both[] = { &mine->ctx, &mine->control };

		module->used = true;
		err = cuda_launch(cuda, mine->loop, mine->stream, both, d->name);
		mine->launched = !err;
	}
	return err;
}

// Not by cuStreamSynchronize(): a kernel that hangs must not take this process along.
static struct gs_error *wait_stream(struct cuda *cuda, struct CUstream_st *stream,
				    uint64_t deadline, const char *what)
{
	unsigned int result;

	while ((result = cuda->api.stream_query(stream)) == CUDA_NOT_READY) {
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			return gs_error_create(GS_ERROR_ENGINE,
					       "%s does not return from the GPU; it is gone when "
					       "this process ends",
					       what);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return cuda_error(&cuda->api, result, "%s failed on the GPU", what);
}

// All kernels that were launched have returned, or an error says which did not.
static struct gs_error *wait_all(struct cuda *cuda)
{
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + STOP_NS;
	struct gs_error *first = NULL;

	for (struct gs_detector *d = cuda->engine->detectors; d; d = d->next) {
		struct cuda_detector *mine = d->code;
		struct gs_error *err = NULL;

		if (mine->launched)
			err = wait_stream(cuda, mine->stream, deadline, d->name);
		if (!err)
			mine->launched = false;
		if (first)
			gs_error_destroy(err);
		else
			first = err;
	}

	struct gs_error *err =
		wait_stream(cuda, cuda->supervisor_stream, deadline, "the supervisor");

	if (first)
		gs_error_destroy(err);
	else
		first = err;
	if (!first)
		cuda->launched = false;
	return first;
}

// Much hangs on this: what fails once is tried once more.
static struct gs_error *end_all(struct cuda *cuda)
{
	struct gs_error *err = set_stop(cuda, 1);

	if (err) {
		gs_error_destroy(err);
		err = set_stop(cuda, 1);
	}
	if (err)
		return err;
	err = wait_all(cuda);
	if (err) {
		gs_error_destroy(err);
		err = wait_all(cuda);
	}
	return err;
}

static struct gs_error *launch(struct cuda *cuda)
{
	struct gs_error *err = create_mailbox(cuda);

	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next)
		err = prepare(cuda, d);
	if (!err)
		err = cuda_memory_refresh(cuda);
	if (!err)
		err = prepare_supervisor(cuda);
	if (!err)
		err = set_stop(cuda, 1);
	// A rehearsal: every kernel returns at once. The driver makes room for the local memory of the
	// largest, for which it would wait until all others have ended.
	if (!err)
		err = launch_all(cuda);
	if (!err)
		err = wait_all(cuda);
	if (!err)
		err = set_stop(cuda, 0);
	if (!err)
		err = launch_all(cuda);
	if (err && cuda->launched)
		gs_error_destroy(end_all(cuda));
	return err;
}

static struct gs_error *deliver(void *arg, uint32_t row, const void *record, uint32_t size)
{
	struct cuda *cuda = arg;
	struct gs_detector *detector = cuda->rows[row];
	uint64_t count = 0;

	// Removed meanwhile.
	if (!detector)
		return NULL;

	struct gs_error *err =
		detector_deliver(detector, record, size, (uint64_t)cuda->header.wall_offset_ns,
				 cuda->engine->fn, cuda->engine->arg, &count);

	cuda->delivered[row] += count;
	// A damaged record is not a reason to miss the others.
	gs_error_destroy(err);
	return NULL;
}

static void update_stats(struct cuda *cuda, uint32_t index)
{
	struct gs_detector *detector = cuda->rows[index];
	struct gs_mailbox_detector row;
	struct gs_error *err = mailbox_read_detector(cuda->reader, index, &row);

	if (err) {
		gs_error_destroy(err);
		return;
	}
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
}

// Everything that is in the mailbox now. Under reader_lock, in the context.
static struct gs_error *drain(struct cuda *cuda, bool table)
{
	uint64_t count;
	struct gs_error *err =
		mailbox_poll(cuda->reader, GS_MAILBOX_FINDINGS, deliver, cuda, &count);

	if (!err)
		err = mailbox_poll(cuda->reader, GS_MAILBOX_DATA, deliver, cuda, &count);
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS && table && !err; i++) {
		if (cuda->rows[i])
			update_stats(cuda, i);
	}
	return err;
}

// @return false if there was nothing to do. An error is that nothing runs any more.
static struct gs_error *refresh(struct cuda *cuda, bool *done_ret)
{
	struct gs_error *err = NULL;

	*done_ret = false;
	pthread_mutex_lock(&cuda->lock);
	if (cuda->launched && cuda_memory_grown(cuda)) {
		*done_ret = true;
		err = end_all(cuda);
		// What cannot be registered stays unreadable, and shows as faults of the detectors
		// that want it.
		if (!err)
			gs_error_destroy(cuda_memory_refresh(cuda));
		if (!err)
			err = set_stop(cuda, 0);
		if (!err)
			err = launch_all(cuda);
	}
	pthread_mutex_unlock(&cuda->lock);
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
		err = drain(cuda, rows);
		if (!err && now >= pages) {
			bool done;

			pthread_mutex_unlock(&cuda->reader_lock);
			err = refresh(cuda, &done);
			pthread_mutex_lock(&cuda->reader_lock);
			if (done && interval < REFRESH_MAX_NS)
				interval *= 2;
			pages = clock_ns(CLOCK_MONOTONIC) + interval;
		}
	}
	pthread_mutex_unlock(&cuda->reader_lock);
	if (entered)
		cuda_leave(cuda);
	if (err)
		fprintf(stderr, "gpusentinel: %s\n", err->message);
	gs_error_destroy(err);
	return NULL;
}

struct gs_error *cuda_start(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = launch(cuda);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	if (err || cuda->has_thread)
		return err;
	cuda->quit = false;

	int result = pthread_create(&cuda->thread, NULL, read_loop, cuda);

	if (result)
		return gs_error_errno(GS_ERROR_OTHER, result, "no thread to read the mailbox");
	cuda->has_thread = true;
	return NULL;
}

struct gs_error *cuda_pause(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err;

	if (!cuda->launched)
		return NULL;
	err = cuda_enter(cuda);
	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = end_all(cuda);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

void cuda_stop(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = cuda_pause(engine);

	if (cuda->has_thread) {
		pthread_mutex_lock(&cuda->reader_lock);
		cuda->quit = true;
		pthread_cond_broadcast(&cuda->reader_wake);
		pthread_mutex_unlock(&cuda->reader_lock);
		pthread_join(cuda->thread, NULL);
		cuda->has_thread = false;
	}
	if (!err && cuda->reader)
		err = cuda_enter(cuda);
	if (!err && cuda->reader) {
		// What came since the thread's last look.
		pthread_mutex_lock(&cuda->reader_lock);
		err = drain(cuda, true);
		pthread_mutex_unlock(&cuda->reader_lock);
		cuda_leave(cuda);
	}
	if (err)
		fprintf(stderr, "gpusentinel: %s\n", err->message);
	gs_error_destroy(err);
}

void cuda_loop_forget(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = detector->code;

	pthread_mutex_lock(&cuda->reader_lock);
	if (mine->row >= 0)
		cuda->rows[mine->row] = NULL;
	pthread_mutex_unlock(&cuda->reader_lock);
	mine->row = -1;
}

void cuda_loop_remove(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = detector->code;

	if (mine->row < 0)
		return;
	pthread_mutex_lock(&cuda->reader_lock);
	if (cuda->reader)
		gs_error_destroy(drain(cuda, false));
	pthread_mutex_unlock(&cuda->reader_lock);
	pthread_mutex_lock(&cuda->lock);
	gs_error_destroy(write_row(cuda, mine->row, "", 0, GS_MAILBOX_EMPTY));
	pthread_mutex_unlock(&cuda->lock);
}

static struct gs_error *enter_reader(struct cuda *cuda)
{
	if (!cuda->reader)
		return gs_error_create(GS_ERROR_USAGE,
				       "the engine has no mailbox before its first start");

	struct gs_error *err = cuda_enter(cuda);

	if (!err)
		pthread_mutex_lock(&cuda->reader_lock);
	return err;
}

static void leave_reader(struct cuda *cuda)
{
	pthread_mutex_unlock(&cuda->reader_lock);
	cuda_leave(cuda);
}

struct gs_error *cuda_heartbeat(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = enter_reader(cuda);

	if (err)
		return err;
	err = mailbox_read_heartbeat(cuda->reader, ret);
	leave_reader(cuda);
	return err;
}

struct gs_error *cuda_row(struct gs_engine *engine, uint32_t index, struct gs_mailbox_detector *ret)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = enter_reader(cuda);

	if (err)
		return err;
	err = mailbox_read_detector(cuda->reader, index, ret);
	leave_reader(cuda);
	return err;
}
