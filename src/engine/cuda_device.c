// SPDX-License-Identifier: Apache-2.0
// The GPU itself: choosing it, its context, its memory, copies and launches.
#include <string.h>
#include <time.h>

#include "engine/cuda.h"
#include "util/cleanup.h"

enum {
	// PTX ISA 7.0, which detectors are compiled to, came with CUDA 11.0.
	MIN_CUDA_VERSION = 11000,
	// sm_80: the oldest GPU that detectors are compiled for.
	MIN_MAJOR = 8,
};

static struct gs_error *attribute(struct cuda *cuda, enum cuda_attribute which, int *ret)
{
	return cuda_error(&cuda->api, cuda->api.device_attribute(ret, which, cuda->device),
			  "cannot ask the GPU for attribute %d", which);
}

static struct gs_error *check_device(struct cuda *cuda, int version)
{
	char name[96] = "";
	int major = 0, minor = 0, mode = 0, registers = 0, read_only = 0, cooperative = 0;
	struct gs_error *err =
		cuda_error(&cuda->api, cuda->api.device_name(name, sizeof(name) - 1, cuda->device),
			   "cannot ask the GPU for its name");

	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_MAJOR, &major);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_MINOR, &minor);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_COMPUTE_MODE, &mode);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_HOST_REGISTER, &registers);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_PROCESSORS, &cuda->processors);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_MAX_REGISTERS, &cuda->max_registers);
	if (!err)
		err = attribute(cuda, CUDA_ATTRIBUTE_COOPERATIVE_LAUNCH, &cooperative);
	if (err)
		return err;
	// Older drivers do not know this question.
	if (cuda->api.device_attribute(&read_only, CUDA_ATTRIBUTE_READ_ONLY_REGISTER, cuda->device))
		read_only = 0;
	cuda->read_only = read_only;
	cuda->cooperative = cooperative;
	snprintf(cuda->description, sizeof(cuda->description),
		 "%s, compute capability %d.%d, CUDA %d.%d", name, major, minor, version / 1000,
		 version % 1000 / 10);
	if (major < MIN_MAJOR)
		return gs_error_create(
			GS_ERROR_ENGINE,
			"%s has compute capability %d.%d; detectors need %d.0 (Ampere) "
			"or later: use -e cpu",
			name, major, minor, MIN_MAJOR);
	if (mode == CUDA_MODE_PROHIBITED)
		return gs_error_create(
			GS_ERROR_ENGINE,
			"%s is in compute mode \"prohibited\"; nvidia-smi -c 0 allows "
			"programs on it",
			name);
	if (!registers)
		return gs_error_create(GS_ERROR_ENGINE,
				       "%s cannot read this machine's memory in place (in "
				       "confidential-computing mode it never can): use -e cpu",
				       name);
	return NULL;
}

struct gs_error *cuda_probe(struct cuda *cuda)
{
	struct gs_error *err = cuda_api_open(&cuda->api);
	int version = 0, count = 0;

	if (err)
		return err;
	err = cuda_error(&cuda->api, cuda->api.init(0), "the NVIDIA driver does not start");
	if (!err)
		err = cuda_error(&cuda->api, cuda->api.driver_version(&version),
				 "the NVIDIA driver does not tell its version");
	if (!err && version < MIN_CUDA_VERSION)
		err = gs_error_create(
			GS_ERROR_ENGINE,
			"the NVIDIA driver is too old: it supports CUDA %d.%d, detectors "
			"need 11.0 (driver 450) or later",
			version / 1000, version % 1000 / 10);
	if (!err)
		err = cuda_error(&cuda->api, cuda->api.device_count(&count),
				 "the NVIDIA driver does not count its GPUs");
	if (!err && count < 1)
		err = gs_error_create(GS_ERROR_ENGINE,
				      "no GPU: the NVIDIA driver shows none to this process; "
				      "look at nvidia-smi and CUDA_VISIBLE_DEVICES");
	// The first one: CUDA_VISIBLE_DEVICES chooses which that is.
	if (!err)
		err = cuda_error(&cuda->api, cuda->api.device_get(&cuda->device, 0),
				 "cannot open the GPU");
	return err ? err : check_device(cuda, version);
}

struct gs_error *cuda_enter(struct cuda *cuda)
{
	return cuda_error(&cuda->api, cuda->api.context_push(cuda->context),
			  "cannot use the GPU's context");
}

void cuda_leave(struct cuda *cuda)
{
	struct CUctx_st *ignored;

	cuda->api.context_pop(&ignored);
}

static struct gs_error *function(struct cuda *cuda, const char *name, struct CUfunc_st **ret)
{
	return cuda_error(&cuda->api, cuda->api.module_function(ret, cuda->supervisor_module, name),
			  "the supervisor has no kernel %s", name);
}

struct gs_error *cuda_device_open(struct cuda *cuda)
{
	// Waiting must not take a CPU's time; local memory that was given back would have to be
	// allocated anew, for which the driver waits until no kernel runs. Not worth failing for.
	cuda->api.context_flags(cuda->device, CUDA_SCHED_BLOCKING_SYNC | CUDA_LMEM_RESIZE_TO_MAX);

	unsigned int result = cuda->api.context_retain(&cuda->context, cuda->device);

	if (result) {
		cuda->context = NULL;
		return cuda_error(&cuda->api, result, "cannot use %s", cuda->description);
	}

	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	err = cuda_error(&cuda->api,
			 cuda->api.stream_create(&cuda->stream, CUDA_STREAM_NON_BLOCKING),
			 "cannot create a stream");
	if (!err)
		err = cuda_module_load(cuda, "the supervisor", supervisor_ptx,
				       GS_SUPERVISOR_THREADS, &cuda->supervisor_module);
	if (!err)
		err = function(cuda, "gs_supervisor", &cuda->supervisor_function);
	if (!err)
		err = function(cuda, "gs_read_clock", &cuda->clock_function);
	cuda_leave(cuda);
	return err;
}

void cuda_device_close(struct cuda *cuda)
{
	if (cuda->context) {
		if (!cuda->api.context_push(cuda->context)) {
			cuda_module_unload(cuda, &cuda->supervisor_module);
			if (cuda->stream)
				cuda->api.stream_destroy(cuda->stream);
			cuda_leave(cuda);
		}
		cuda->api.context_release(cuda->device);
	}
	cuda_api_close(&cuda->api);
}

static struct gs_error *finish(struct cuda *cuda, unsigned int result, const char *what)
{
	// Also after an error: what was launched before uses memory that the caller may now free.
	unsigned int wait_result = cuda->api.stream_wait(cuda->stream);

	return cuda_error(&cuda->api, result ? result : wait_result, "%s", what);
}

struct gs_error *cuda_write(struct cuda *cuda, cuda_address to, const void *from, size_t size)
{
	if (!size)
		return NULL;
	return finish(cuda, cuda->api.copy_to_device(to, from, size, cuda->stream),
		      "copying to the GPU");
}

struct gs_error *cuda_read(struct cuda *cuda, void *to, cuda_address from, size_t size)
{
	if (!size)
		return NULL;
	return finish(cuda, cuda->api.copy_from_device(to, from, size, cuda->stream),
		      "copying from the GPU");
}

struct gs_error *cuda_zero(struct cuda *cuda, cuda_address to, size_t size)
{
	return finish(cuda, cuda->api.set_bytes(to, 0, size, cuda->stream), "clearing GPU memory");
}

struct gs_error *cuda_launch(struct cuda *cuda, struct CUfunc_st *kernel, uint32_t threads,
			     uint32_t blocks, struct CUstream_st *stream, void **parameters,
			     const char *what)
{
	// Blocks wait for each other: all of them have a place on the GPU, or the launch fails.
	unsigned int result = blocks > 1
				      ? cuda->api.launch_cooperative(kernel, blocks, 1, 1, threads,
								     1, 1, 0, stream, parameters)
				      : cuda->api.launch(kernel, 1, 1, 1, threads, 1, 1, 0, stream,
							 parameters, NULL);

	return cuda_error(&cuda->api, result, "%s: cannot be launched", what);
}

struct gs_error *cuda_wall_offset(struct cuda *cuda, int64_t *ret)
{
	cuda_address at;
	struct gs_error *err = cuda_alloc(cuda, "its clock", sizeof(uint64_t), &at);
	void *parameters[] = { &at };
	uint64_t best = UINT64_MAX;

	// The shortest of a few tells most; the first one also warms up.
	for (int i = 0; i < 5 && !err; i++) {
		uint64_t gpu, before = clock_ns(CLOCK_REALTIME);

		err = cuda_launch(cuda, cuda->clock_function, 1, 1, cuda->stream, parameters,
				  "the clock");
		if (!err)
			err = finish(cuda, 0, "reading the GPU's clock");

		uint64_t after = clock_ns(CLOCK_REALTIME);

		if (!err)
			err = cuda_read(cuda, &gpu, at, sizeof(gpu));
		if (!err && after - before < best) {
			best = after - before;
			*ret = (int64_t)(before + (after - before) / 2 - gpu);
		}
	}
	cuda_free(cuda, &at);
	return err;
}
