// SPDX-License-Identifier: Apache-2.0
// Kernels that never return: what each is given, their launch and their end.
//
// After the launch the GPU needs neither the driver nor this process. Everything that a loop knows lies
// in GPU memory, so that one which was told to return goes on where it was when it is launched again.
#include <string.h>
#include <time.h>

#include "engine/cuda_loop.h"
#include "mailbox/layout.h"
#include "util/cleanup.h"

// Beats are what a monitor sees first: often enough to tell a dead GPU in the blink of an eye.
#define BEAT_NS UINT64_C(1000000)
// A run that takes so long, and so many periods, has stalled.
#define STALL_NS SECOND
#define STALL_PERIODS 10
// Kernels look at their flag at least once a millisecond, unless they are in a run.
#define STOP_NS (10 * SECOND)

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
		.period_ns = (uint64_t)detector->period_us * 1000,
		.budget = detector->budget,
	};
	struct gs_ctx ctx = {
		.map = cuda->memory.map,
		.slots = module->slots,
		.out = mine->out,
		.out_size = (uint32_t)mine->out_size,
		.threads = 1,
		.blocks = 1,
	};

	struct gs_error *err = cuda_mailbox_add(cuda, detector, row, &control.writer);

	if (!err)
		err = cuda_write(cuda, mine->control, &control, sizeof(control));
	if (!err)
		err = cuda_write(cuda, mine->ctx, &ctx, offsetof(struct gs_ctx, shared));
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
	supervisor->map = cuda->memory.map;
	mailbox_supervisor(supervisor, &cuda->header, cuda->mailbox, cuda->crc32c);
	for (struct gs_detector *d = cuda->engine->detectors; d; d = d->next) {
		const struct cuda_detector *mine = d->code;
		uint64_t periods = STALL_PERIODS * (uint64_t)d->period_us * 1000;

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
	struct gs_error *err = cuda_launch(cuda, cuda->supervisor_function, GS_SUPERVISOR_THREADS,
					   cuda->supervisor_stream, parameters, "the supervisor");

	if (!err)
		cuda->launched = true;
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		struct cuda_detector *mine = d->code;
		struct cuda_module *module = d->loaded->code;
		void *both[] = { &mine->ctx, &mine->control };

		module->used = true;
		err = cuda_launch(cuda, mine->loop, 1, mine->stream, both, d->name);
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
struct gs_error *cuda_kernels_end(struct cuda *cuda)
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

struct gs_error *cuda_kernels_resume(struct cuda *cuda)
{
	struct gs_error *err = set_stop(cuda, 0);

	return err ? err : launch_all(cuda);
}

struct gs_error *cuda_kernels_start(struct cuda *cuda)
{
	struct gs_error *err = cuda_mailbox_open(cuda);

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
		err = cuda_kernels_resume(cuda);
	if (err && cuda->launched)
		gs_error_destroy(cuda_kernels_end(cuda));
	return err;
}
