// SPDX-License-Identifier: Apache-2.0
// What the driver does only while no kernel runs, and how kernels that do not end are brought to let it.
//
// tests/gpu/probe_async.c asks the driver. On an H200 with driver 580, beside kernels that run,
//
//	return at once	cuMemAlloc, copies, cuMemHostRegister (kernels see the new memory), streams, compiling, and
//			launches that need no more local memory a thread than any before
//	wait		cuMemFree, cuMemHostUnregister, cuModuleUnload, cuModuleLoadDataEx, and launches that need
//			more local memory a thread than any before
//
// What gives something back is put off until the kernels end for another reason. For the rest they end, and are
// launched again; all that they know lies in GPU memory, so that they go on where they were. That moment is kept
// short, for should this machine die in it, nothing would launch them again: first each kernel is asked to wait
// at the end of its run, which it does only for so long, and when all of them wait, all are told to return.
#include <string.h>
#include <time.h>

#include "engine/cuda_loop.h"
#include "util/array.h"

// How long a kernel waits for its end before it goes on by itself; also how long its run may take.
#define PARK_NS (2 * SECOND)
// Kernels look at their flag at least once a millisecond, unless they are in a run.
#define STOP_NS (10 * SECOND)

static void pause_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

struct gs_error *cuda_alloc(struct cuda *cuda, const char *what, size_t size, cuda_address *ret)
{
	struct cuda_block block = { .size = size ? size : 1 };

	*ret = 0;
	for (size_t i = 0; i < cuda->block_count; i++) {
		struct cuda_block *old = &cuda->blocks[i];

		if (!old->kept || old->size < block.size || old->size / 2 > block.size)
			continue;
		old->kept = false;
		*ret = old->address;
		return NULL;
	}
	if (!gs_array_reserve(&cuda->blocks, cuda->block_count, &cuda->block_capacity,
			      sizeof(block)))
		return &gs_enomem;

	struct gs_error *err =
		cuda_error(&cuda->api, cuda->api.memory_alloc(&block.address, block.size),
			   "no %zu bytes of GPU memory for %s", size, what);

	if (err)
		return err;
	cuda->blocks[cuda->block_count++] = block;
	*ret = block.address;
	return NULL;
}

static void free_block(struct cuda *cuda, size_t index)
{
	cuda->api.memory_free(cuda->blocks[index].address);
	cuda->blocks[index] = cuda->blocks[--cuda->block_count];
}

void cuda_free(struct cuda *cuda, cuda_address *address)
{
	for (size_t i = 0; i < cuda->block_count && *address; i++) {
		if (cuda->blocks[i].address != *address)
			continue;
		if (cuda_idle(cuda))
			free_block(cuda, i);
		else
			cuda->blocks[i].kept = true;
		break;
	}
	*address = 0;
}

void cuda_module_unload(struct cuda *cuda, struct CUmod_st **module)
{
	// Without memory for the list it stays loaded until this process ends.
	if (*module && cuda_idle(cuda))
		cuda->api.module_unload(*module);
	else if (*module)
		(void)gs_array_push(cuda->old_modules, cuda->old_module_count,
				    cuda->old_module_capacity, *module);
	*module = NULL;
}

void cuda_release(struct cuda *cuda)
{
	if (!cuda_idle(cuda))
		return;
	for (size_t i = cuda->block_count; i > 0; i--) {
		if (cuda->blocks[i - 1].kept)
			free_block(cuda, i - 1);
	}
	while (cuda->old_module_count)
		cuda->api.module_unload(cuda->old_modules[--cuda->old_module_count]);
}

static struct gs_error *set_stop(struct cuda *cuda, uint64_t stop)
{
	struct gs_error *err = NULL;

	_Static_assert(offsetof(struct gs_supervisor, stop) == 0, "the flag comes first");
	_Static_assert(offsetof(struct gs_control, stop) == 0, "the flag comes first");
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		const struct cuda_detector *mine = d->code;

		if (mine->launched)
			err = cuda_write(cuda, mine->control, &stop, sizeof(stop));
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
		pause_us(200);
	}
	return cuda_error(&cuda->api, result, "%s failed on the GPU", what);
}

static struct gs_error *wait_loop(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	struct gs_error *err = NULL;

	if (mine->launched)
		err = wait_stream(cuda, mine->stream, clock_ns(CLOCK_MONOTONIC) + STOP_NS,
				  detector->name);
	if (!err)
		mine->launched = false;
	return err;
}

static struct gs_error *stop_supervisor(struct cuda *cuda)
{
	const uint64_t stop = GS_CONTROL_STOP;

	return cuda->supervised ? cuda_write(cuda, cuda->supervisor, &stop, sizeof(stop)) : NULL;
}

static struct gs_error *wait_supervisor(struct cuda *cuda)
{
	struct gs_error *err = NULL;

	if (cuda->supervised)
		err = wait_stream(cuda, cuda->supervisor_stream,
				  clock_ns(CLOCK_MONOTONIC) + STOP_NS, "the supervisor");
	if (!err)
		cuda->supervised = false;
	return err;
}

// All that were launched have returned, or an error says which did not.
static struct gs_error *end_all(struct cuda *cuda)
{
	struct gs_error *first = set_stop(cuda, GS_CONTROL_STOP);

	// All are told before any is waited for: compute-sanitizer makes of the end of one kernel a wait for all.
	if (!first)
		first = stop_supervisor(cuda);
	for (struct gs_detector *d = cuda->engine->detectors; d && !first; d = d->next)
		first = wait_loop(cuda, d);

	struct gs_error *err = wait_supervisor(cuda);

	if (!first)
		return err;
	gs_error_destroy(err);
	return first;
}

// Much hangs on this: what fails once is tried once more.
struct gs_error *cuda_kernels_end(struct cuda *cuda)
{
	struct gs_error *err = end_all(cuda);

	if (err) {
		gs_error_destroy(err);
		err = end_all(cuda);
	}
	if (!err) {
		cuda->launched = false;
		cuda_release(cuda);
	}
	return err;
}

static struct gs_error *end_one(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	const uint64_t stop = GS_CONTROL_STOP;
	struct gs_error *err = NULL;

	if (mine->launched)
		err = cuda_write(cuda, mine->control, &stop, sizeof(stop));
	return err ? err : wait_loop(cuda, detector);
}

struct gs_error *cuda_kernels_end_one(struct cuda *cuda, struct gs_detector *detector)
{
	struct gs_error *err = end_one(cuda, detector);

	if (!err)
		return NULL;
	gs_error_destroy(err);
	return end_one(cuda, detector);
}

// @ret: it waits, or has ended.
static struct gs_error *is_parked(struct cuda *cuda, const struct cuda_detector *mine, bool *ret)
{
	uint64_t parked = 0;
	struct gs_error *err = cuda_read(
		cuda, &parked, mine->control + offsetof(struct gs_control, parked), sizeof(parked));

	*ret = parked || cuda->api.stream_query(mine->stream) == CUDA_OK;
	return err;
}

static struct gs_error *wait_parked(struct cuda *cuda, struct gs_detector *detector,
				    uint64_t deadline)
{
	bool parked = false;
	struct gs_error *err = is_parked(cuda, detector->code, &parked);

	while (!err && !parked) {
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			return gs_error_create(GS_ERROR_ENGINE,
					       "%s has been in one run for seconds; nothing can be "
					       "added until that ends",
					       detector->name);
		pause_us(200);
		err = is_parked(cuda, detector->code, &parked);
	}
	return err;
}

struct gs_error *cuda_kernels_park(struct cuda *cuda, struct gs_detector *detector)
{
	const struct cuda_detector *mine = detector->code;
	const uint64_t park = PARK_NS, go_on = GS_CONTROL_RUN;
	struct gs_error *err = cuda_write(cuda, mine->control, &park, sizeof(park));

	if (!err)
		err = wait_parked(cuda, detector, clock_ns(CLOCK_MONOTONIC) + PARK_NS);
	if (err)
		gs_error_destroy(cuda_write(cuda, mine->control, &go_on, sizeof(go_on)));
	return err;
}

struct gs_error *cuda_check_stuck(const struct cuda *cuda)
{
	if (!cuda->stuck)
		return NULL;
	return gs_error_create(
		GS_ERROR_ENGINE,
		"a detector that was removed does not return from the GPU; start this "
		"program anew");
}

struct gs_error *cuda_quiet(struct cuda *cuda)
{
	struct gs_error *err = cuda_check_stuck(cuda);

	if (err || !cuda->launched)
		return err;

	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + PARK_NS;

	err = set_stop(cuda, PARK_NS);
	for (struct gs_detector *d = cuda->engine->detectors; d && !err; d = d->next) {
		const struct cuda_detector *mine = d->code;

		if (mine->launched)
			err = wait_parked(cuda, d, deadline);
	}
	if (!err)
		return cuda_kernels_end(cuda);
	// Should this fail too, they go on by themselves.
	gs_error_destroy(set_stop(cuda, GS_CONTROL_RUN));
	return err;
}
