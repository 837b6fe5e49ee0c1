// SPDX-License-Identifier: Apache-2.0
// Kernels that never return: what each is given, and its launch.
//
// After the launch the GPU needs neither the driver nor this process. Everything that a loop knows lies
// in GPU memory, so that one which was told to return goes on where it was when it is launched again.
#include <string.h>

#include "engine/cuda_loop.h"
#include "engine/formats.h"
#include "mailbox/layout.h"
#include "util/cleanup.h"

// Beats are what a monitor sees first: often enough to tell a dead GPU in the blink of an eye.
#define BEAT_NS UINT64_C(1000000)
// A run that takes so long, and so many periods, has stalled.
#define STALL_NS SECOND
#define STALL_PERIODS 10

// A detector of one thread.
static bool is_solo(const struct cuda_detector *mine)
{
	return mine->threads * mine->blocks == 1;
}

static uint32_t loop_threads(const struct cuda_detector *mine)
{
	return is_solo(mine) ? GS_SOLO_THREADS : mine->threads;
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
		.stop = GS_CONTROL_STOP,
		.period_ns = (uint64_t)detector->period_us * 1000,
		.budget = detector->budget,
		.solo = is_solo(mine) ? GS_SOLO_THREADS : 0,
	};
	struct gs_ctx ctx = {
		.map = cuda->memory.map,
		.slots = module->slots,
		.out = mine->out,
		.out_size = (uint32_t)mine->out_size,
		.threads = loop_threads(mine),
		.blocks = mine->blocks,
	};

	formats_params(detector->loaded->fat, module->slots, &control);

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
	cuda->lost[row] = 0;
	pthread_mutex_unlock(&cuda->reader_lock);
	return NULL;
}

static uint64_t stall_ns(const struct gs_detector *detector)
{
	uint64_t periods = STALL_PERIODS * (uint64_t)detector->period_us * 1000;

	return periods > STALL_NS ? periods : STALL_NS;
}

// What the first launch begins with; a later one goes on with what the supervisor knows of monitors.
static struct gs_error *fill_supervisor(struct cuda *cuda, struct gs_supervisor *supervisor)
{
	if (cuda->supervisor_filled)
		return cuda_read(cuda, supervisor, cuda->supervisor, sizeof(*supervisor));
	supervisor->period_ns = BEAT_NS;
	supervisor->map = cuda->memory.map;
	mailbox_supervisor(supervisor, &cuda->header, cuda->mailbox, cuda->crc32c);
	return NULL;
}

static struct gs_error *launch_supervisor(struct cuda *cuda)
{
	_cleanup_free_ struct gs_supervisor *supervisor = calloc(1, sizeof(*supervisor));
	void *parameters[] = { &cuda->supervisor };
	struct gs_error *err = supervisor ? fill_supervisor(cuda, supervisor) : &gs_enomem;

	if (err)
		return err;
	supervisor->stop = GS_CONTROL_RUN;
	memset(supervisor->controls, 0, sizeof(supervisor->controls));
	for (struct gs_detector *d = cuda->engine->detectors; d; d = d->next) {
		const struct cuda_detector *mine = d->code;

		supervisor->controls[mine->row] = mine->control;
		supervisor->stall_ns[mine->row] = stall_ns(d);
	}
	err = cuda_write(cuda, cuda->supervisor, supervisor, sizeof(*supervisor));
	cuda->supervisor_filled |= !err;
	if (!err)
		err = cuda_launch(cuda, cuda->supervisor_function, GS_SUPERVISOR_THREADS, 1,
				  cuda->supervisor_stream, parameters, "the supervisor");
	cuda->supervised = !err;
	cuda->launched |= !err;
	return err;
}

// A supervisor that runs already is to watch @detector: its row of the supervisor's tables.
static struct gs_error *watch(struct cuda *cuda, const struct gs_detector *detector)
{
	const struct cuda_detector *mine = detector->code;
	uint64_t row = (uint64_t)mine->row * sizeof(uint64_t);
	uint64_t stall = stall_ns(detector);
	struct gs_error *err =
		cuda_write(cuda, cuda->supervisor + offsetof(struct gs_supervisor, stall_ns) + row,
			   &stall, sizeof(stall));

	return err ? err
		   : cuda_write(cuda,
				cuda->supervisor + offsetof(struct gs_supervisor, controls) + row,
				&mine->control, sizeof(mine->control));
}

void cuda_kernels_unwatch(struct cuda *cuda, const struct gs_detector *detector)
{
	const struct cuda_detector *mine = detector->code;
	const uint64_t none = 0;

	if (cuda->supervised && mine->row >= 0)
		gs_error_destroy(cuda_write(cuda,
					    cuda->supervisor +
						    offsetof(struct gs_supervisor, controls) +
						    (uint64_t)mine->row * sizeof(none),
					    &none, sizeof(none)));
}

static struct gs_error *launch_loop(struct cuda *cuda, struct gs_detector *detector, uint64_t stop)
{
	struct cuda_detector *mine = detector->code;
	struct cuda_module *module = detector->loaded->code;
	void *parameters[] = { &mine->ctx, &mine->control };
	const uint32_t threads = loop_threads(mine);
	struct gs_error *err = cuda_write(cuda, mine->control, &stop, sizeof(stop));

	// A single run in between may have been of another number.
	if (!err)
		err = cuda_write(cuda, mine->ctx + offsetof(struct gs_ctx, threads), &threads,
				 sizeof(threads));
	if (err)
		return err;
	module->used = true;
	err = cuda_launch(cuda, mine->loop, threads, mine->blocks, mine->stream, parameters,
			  detector->name);
	mine->launched = !err;
	cuda->launched |= !err;
	return err;
}

static bool needs_room(const struct cuda *cuda, const struct gs_detector *detector)
{
	const struct cuda_detector *mine = detector->code;

	return !mine->launched && mine->local_size > cuda->local_size;
}

// Each kernel that needs more local memory than any before is launched once while nothing else runs, and returns at
// once: the driver makes room for it, which it would not do beside others.
static struct gs_error *rehearse(struct cuda *cuda)
{
	struct gs_error *err = NULL;

	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		const struct cuda_detector *mine = d->code;

		if (!needs_room(cuda, d))
			continue;
		err = cuda_quiet(cuda);
		if (!err)
			err = launch_loop(cuda, d, GS_CONTROL_STOP);
		if (!err)
			err = cuda_kernels_end(cuda);
		if (!err)
			cuda->local_size = mine->local_size;
	}
	return err;
}

struct gs_error *cuda_kernels_start(struct cuda *cuda)
{
	struct gs_error *err = cuda_mailbox_open(cuda);

	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next)
		err = prepare(cuda, d);
	if (!err && !cuda->launched)
		err = cuda_memory_refresh(cuda);
	if (!err)
		err = rehearse(cuda);

	bool supervised = cuda->supervised;

	if (!err && !supervised)
		err = launch_supervisor(cuda);
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		const struct cuda_detector *mine = d->code;

		if (mine->launched)
			continue;
		err = launch_loop(cuda, d, GS_CONTROL_RUN);
		if (!err && supervised)
			err = watch(cuda, d);
	}
	return err;
}

struct gs_error *cuda_kernels_grow(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	struct gs_ctx ctx = { .out_size = (uint32_t)mine->out_size * 2 };
	const size_t at = offsetof(struct gs_ctx, out);
	cuda_address out = 0;

	if (!mine->launched || mine->out_size * 2 > MAX_OUTPUT)
		return NULL;

	struct gs_error *err = cuda_alloc(cuda, "a detector's records", ctx.out_size, &out);

	if (!err)
		err = cuda_kernels_park(cuda, detector);
	// Tried again when it loses more.
	if (err) {
		gs_error_destroy(err);
		cuda_free(cuda, &out);
		return NULL;
	}
	ctx.out = out;
	err = cuda_kernels_end_one(cuda, detector);
	if (!err)
		err = cuda_write(cuda, mine->ctx + at, (const char *)&ctx + at,
				 offsetof(struct gs_ctx, out_used) - at);
	if (err) {
		cuda_free(cuda, &out);
		return err;
	}
	// What did not fit into the old buffer says nothing about the new one.
	pthread_mutex_lock(&cuda->reader_lock);
	gs_error_destroy(cuda_mailbox_read_lost(cuda, mine->row, &cuda->lost[mine->row]));
	pthread_mutex_unlock(&cuda->reader_lock);
	cuda_free(cuda, &mine->out);
	mine->out = out;
	mine->out_size = ctx.out_size;
	return launch_loop(cuda, detector, GS_CONTROL_RUN);
}
