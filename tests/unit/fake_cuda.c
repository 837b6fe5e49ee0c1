// SPDX-License-Identifier: Apache-2.0
#include "rt.c"
#include "loop.c"
#define GS_DEVICE_HAS_RT
#include "supervisor.c"

#include "fake_cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda_api.h"

struct CUfunc_st {
	char name[64];
	void *entry;
};

struct CUmod_st {
	struct CUfunc_st functions[16];
	int count;
};

struct CUstream_st {
	struct CUstream_st *next;
	pthread_t thread;
	bool busy, done;
	struct CUfunc_st *function;
	uint64_t parameters[2];
};

struct CUctx_st {
	int unused;
};

struct block {
	struct block *next;
	size_t size;
	uint64_t data[];
};

static struct fake_cuda fake;
static struct CUctx_st context;
static struct CUstream_st *streams;
static struct block *blocks;
static unsigned int calls;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int pushed;

// For programs that do not know of it: FAKE_CUDA_DETECTOR names the file whose code kernels run.
__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("FAKE_CUDA_DETECTOR");

	fake_cuda_reset();
	if (path)
		fake.detectors = dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

FAKE_EXPORT struct fake_cuda *fake_cuda(void)
{
	return &fake;
}

// Counts a call; the result that it is to have.
static unsigned int called(const char *symbol, bool needs_context)
{
	unsigned int result = CUDA_OK;

	pthread_mutex_lock(&lock);
	if (needs_context && !pushed)
		fake.misuses++;
	if (fake.fail_symbol && !strcmp(fake.fail_symbol, symbol) && ++calls == fake.fail_at) {
		fake.failed = true;
		result = fake.fail_with;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

// What the driver may do only when no kernel runs.
static void idle_call(void)
{
	pthread_mutex_lock(&lock);
	for (struct CUstream_st *s = streams; s; s = s->next)
		fake.unsafe += s->busy && !__atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&lock);
}

#define ENTER(symbol)                                        \
	do {                                                 \
		unsigned int result_ = called(symbol, true); \
		if (result_)                                 \
			return result_;                      \
	} while (0)
#define ENTER_FREELY(symbol)                                  \
	do {                                                  \
		unsigned int result_ = called(symbol, false); \
		if (result_)                                  \
			return result_;                       \
	} while (0)

// What ends something ends it also if it says that it failed.
#define DECLARE(member, symbol, parameters) FAKE_EXPORT unsigned int symbol parameters;
CUDA_FUNCTIONS(DECLARE)

unsigned int cuInit(unsigned int flags)
{
	(void)flags;
	ENTER_FREELY("cuInit");
	return CUDA_OK;
}

unsigned int cuDriverGetVersion(int *ret)
{
	ENTER_FREELY("cuDriverGetVersion");
	*ret = fake.version;
	return CUDA_OK;
}

unsigned int cuGetErrorName(unsigned int error, const char **ret)
{
	*ret = error == CUDA_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_A_TEST";
	return CUDA_OK;
}

unsigned int cuGetErrorString(unsigned int error, const char **ret)
{
	*ret = error == CUDA_OUT_OF_MEMORY ? "out of memory" : "as the test wants it";
	return CUDA_OK;
}

unsigned int cuDeviceGetCount(int *ret)
{
	ENTER_FREELY("cuDeviceGetCount");
	*ret = fake.devices;
	return CUDA_OK;
}

unsigned int cuDeviceGet(int *ret, int ordinal)
{
	ENTER_FREELY("cuDeviceGet");
	*ret = ordinal;
	return CUDA_OK;
}

unsigned int cuDeviceGetName(char *name, int len, int device)
{
	(void)device;
	ENTER_FREELY("cuDeviceGetName");
	snprintf(name, (size_t)len, "Fake GPU");
	return CUDA_OK;
}

unsigned int cuDeviceGetAttribute(int *ret, unsigned int attribute, int device)
{
	(void)device;
	ENTER_FREELY("cuDeviceGetAttribute");
	switch (attribute) {
	case CUDA_ATTRIBUTE_COMPUTE_MODE:
		*ret = fake.mode;
		break;
	case CUDA_ATTRIBUTE_MAJOR:
		*ret = fake.major;
		break;
	case CUDA_ATTRIBUTE_MINOR:
		*ret = 0;
		break;
	case CUDA_ATTRIBUTE_HOST_REGISTER:
		*ret = fake.registers;
		break;
	case CUDA_ATTRIBUTE_READ_ONLY_REGISTER:
		*ret = fake.read_only;
		break;
	default:
		return CUDA_INVALID_VALUE;
	}
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned int flags)
{
	(void)device;
	(void)flags;
	ENTER_FREELY("cuDevicePrimaryCtxSetFlags_v2");
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxRetain(struct CUctx_st **ret, int device)
{
	(void)device;
	ENTER_FREELY("cuDevicePrimaryCtxRetain");
	fake.contexts++;
	*ret = &context;
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxRelease_v2(int device)
{
	(void)device;
	idle_call();
	fake.contexts--;
	ENTER_FREELY("cuDevicePrimaryCtxRelease_v2");
	return CUDA_OK;
}

unsigned int cuCtxPushCurrent_v2(struct CUctx_st *ctx)
{
	ENTER_FREELY("cuCtxPushCurrent_v2");
	if (ctx != &context)
		return CUDA_INVALID_VALUE;
	pushed++;
	__atomic_fetch_add(&fake.pushed, 1, __ATOMIC_RELAXED);
	return CUDA_OK;
}

unsigned int cuCtxPopCurrent_v2(struct CUctx_st **ret)
{
	*ret = &context;
	pushed--;
	__atomic_fetch_sub(&fake.pushed, 1, __ATOMIC_RELAXED);
	return CUDA_OK;
}

unsigned int cuModuleLoadDataEx(struct CUmod_st **ret, const void *image, unsigned int count,
				unsigned int *options, void **values)
{
	(void)count;
	(void)options;
	ENTER("cuModuleLoadDataEx");
	idle_call();
	if (strncmp(image, "//", 2)) {
		snprintf(values[0], (size_t)values[1], "ptxas fatal: no PTX\nsecond line");
		return CUDA_INVALID_PTX;
	}
	*ret = calloc(1, sizeof(**ret));
	fake.modules++;
	return CUDA_OK;
}

unsigned int cuModuleUnload(struct CUmod_st *module)
{
	idle_call();
	free(module);
	fake.modules--;
	ENTER("cuModuleUnload");
	return CUDA_OK;
}

unsigned int cuModuleGetFunction(struct CUfunc_st **ret, struct CUmod_st *module, const char *name)
{
	struct CUfunc_st *function = &module->functions[module->count];
	char run[64];

	ENTER("cuModuleGetFunction");
	snprintf(function->name, sizeof(function->name), "%s", name);
	snprintf(run, sizeof(run), "gs_run_%s", strncmp(name, "gs_loop_", 8) ? name + 7 : name + 8);
	if (strcmp(name, "gs_supervisor") && strcmp(name, "gs_read_clock")) {
		function->entry = fake.detectors ? dlsym(fake.detectors, run) : NULL;
		if (!function->entry)
			return 500;
	}
	module->count = (module->count + 1) % 16;
	*ret = function;
	return CUDA_OK;
}

unsigned int cuFuncGetAttribute(int *ret, unsigned int attribute, struct CUfunc_st *function)
{
	(void)attribute;
	(void)function;
	ENTER("cuFuncGetAttribute");
	*ret = 64;
	return CUDA_OK;
}

unsigned int cuMemGetInfo_v2(size_t *unused, size_t *total)
{
	ENTER("cuMemGetInfo_v2");
	*unused = *total = fake.free_memory;
	return CUDA_OK;
}

unsigned int cuMemAlloc_v2(cuda_address *ret, size_t size)
{
	ENTER("cuMemAlloc_v2");
	idle_call();

	struct block *block = malloc(sizeof(*block) + size);

	// What nobody has written reads as rubbish.
	memset(block->data, 0xa5, size);
	block->size = size;
	pthread_mutex_lock(&lock);
	block->next = blocks;
	blocks = block;
	fake.allocations++;
	pthread_mutex_unlock(&lock);
	*ret = (uintptr_t)block->data;
	return CUDA_OK;
}

unsigned int cuMemFree_v2(cuda_address address)
{
	idle_call();
	pthread_mutex_lock(&lock);
	for (struct block **p = &blocks; *p; p = &(*p)->next) {
		struct block *block = *p;

		if ((uintptr_t)block->data != address)
			continue;
		*p = block->next;
		free(block);
		fake.allocations--;
		address = 0;
		break;
	}
	fake.misuses += address != 0;
	pthread_mutex_unlock(&lock);
	ENTER("cuMemFree_v2");
	return CUDA_OK;
}

unsigned int cuMemHostRegister_v2(void *address, size_t size, unsigned int flags)
{
	ENTER("cuMemHostRegister_v2");
	if ((uintptr_t)address % 4096 || size % 4096 || !size)
		return CUDA_INVALID_VALUE;
	if (fake.registered_count < 64) {
		fake.registered[fake.registered_count].address = address;
		fake.registered[fake.registered_count].size = size;
		fake.registered[fake.registered_count++].flags = flags;
	}
	fake.registrations++;
	return CUDA_OK;
}

unsigned int cuMemHostUnregister(void *address)
{
	(void)address;
	idle_call();
	fake.registrations--;
	ENTER("cuMemHostUnregister");
	return CUDA_OK;
}

unsigned int cuMemHostGetDevicePointer_v2(cuda_address *ret, void *address, unsigned int flags)
{
	(void)flags;
	ENTER("cuMemHostGetDevicePointer_v2");
	*ret = (uintptr_t)address + fake.shift * (size_t)fake.registered_count;
	return CUDA_OK;
}

static bool on_device(cuda_address at, size_t size)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (struct block *block = blocks; block; block = block->next) {
		uintptr_t start = (uintptr_t)block->data;

		found |= at >= start && at - start <= block->size &&
			 size <= block->size - (at - start);
	}
	fake.misuses += !found;
	pthread_mutex_unlock(&lock);
	return found;
}

static unsigned int wait(struct CUstream_st *stream)
{
	if (stream->busy) {
		pthread_join(stream->thread, NULL);
		stream->busy = false;
	}
	return CUDA_OK;
}

unsigned int cuMemcpyHtoDAsync_v2(cuda_address to, const void *from, size_t size,
				  struct CUstream_st *stream)
{
	ENTER("cuMemcpyHtoDAsync_v2");
	wait(stream);
	if (on_device(to, size))
		memcpy((void *)(uintptr_t)to, from, size);
	return CUDA_OK;
}

unsigned int cuMemcpyDtoHAsync_v2(void *to, cuda_address from, size_t size,
				  struct CUstream_st *stream)
{
	ENTER("cuMemcpyDtoHAsync_v2");
	wait(stream);
	if (on_device(from, size))
		memcpy(to, (void *)(uintptr_t)from, size);
	return CUDA_OK;
}

unsigned int cuMemsetD8Async(cuda_address to, unsigned char value, size_t size,
			     struct CUstream_st *stream)
{
	ENTER("cuMemsetD8Async");
	wait(stream);
	if (on_device(to, size))
		memset((void *)(uintptr_t)to, value, size);
	return CUDA_OK;
}

unsigned int cuStreamCreate(struct CUstream_st **ret, unsigned int flags)
{
	ENTER("cuStreamCreate");
	// The other kind waits for the null stream.
	if (flags != CUDA_STREAM_NON_BLOCKING)
		return CUDA_INVALID_VALUE;

	struct CUstream_st *stream = calloc(1, sizeof(*stream));

	pthread_mutex_lock(&lock);
	stream->next = streams;
	streams = stream;
	fake.streams++;
	pthread_mutex_unlock(&lock);
	*ret = stream;
	return CUDA_OK;
}

unsigned int cuStreamDestroy_v2(struct CUstream_st *stream)
{
	wait(stream);
	pthread_mutex_lock(&lock);
	for (struct CUstream_st **p = &streams; *p; p = &(*p)->next) {
		if (*p == stream) {
			*p = stream->next;
			break;
		}
	}
	fake.streams--;
	pthread_mutex_unlock(&lock);
	free(stream);
	ENTER("cuStreamDestroy_v2");
	return CUDA_OK;
}

unsigned int cuStreamSynchronize(struct CUstream_st *stream)
{
	wait(stream);
	ENTER("cuStreamSynchronize");
	return CUDA_OK;
}

unsigned int cuStreamQuery(struct CUstream_st *stream)
{
	ENTER("cuStreamQuery");
	if (stream->busy && !__atomic_load_n(&stream->done, __ATOMIC_ACQUIRE))
		return CUDA_NOT_READY;
	return wait(stream);
}

static void *kernel(void *arg)
{
	struct CUstream_st *stream = arg;
	struct CUfunc_st *function = stream->function;
	struct gs_ctx *ctx = (struct gs_ctx *)stream->parameters[0];
	struct gs_control *control = (struct gs_control *)stream->parameters[1];
	void (*run)(struct gs_ctx *ctx);
	// A GPU's code has its own.
	struct gs_block *block = calloc(1, sizeof(*block));

	memcpy(&run, &function->entry, sizeof(run));
	if (!strcmp(function->name, "gs_supervisor")) {
		gs_supervisor((struct gs_supervisor *)ctx);
	} else if (!strcmp(function->name, "gs_read_clock")) {
		gs_read_clock((uint64_t *)ctx);
	} else if (!strncmp(function->name, "gs_run_", 7)) {
		ctx->block = (uint64_t)block;
		run(ctx);
	} else {
		ctx->block = (uint64_t)block;
		while (gs_rt_loop_begin(ctx, control)) {
			run(ctx);
			gs_rt_loop_end(ctx, control);
		}
	}
	free(block);
	__atomic_store_n(&stream->done, true, __ATOMIC_RELEASE);
	return NULL;
}

unsigned int cuLaunchKernel(struct CUfunc_st *function, unsigned int grid_x, unsigned int grid_y,
			    unsigned int grid_z, unsigned int block_x, unsigned int block_y,
			    unsigned int block_z, unsigned int shared, struct CUstream_st *stream,
			    void **parameters, void **extra)
{
	(void)shared;
	(void)extra;
	ENTER("cuLaunchKernel");
	// The supervisor's threads are all played by one.
	if (grid_x * grid_y * grid_z != 1 ||
	    block_x * block_y * block_z !=
		    (strcmp(function->name, "gs_supervisor") ? 1 : GS_SUPERVISOR_THREADS))
		return CUDA_INVALID_VALUE;
	wait(stream);
	stream->function = function;
	memcpy(&stream->parameters[0], parameters[0], 8);
	if (!strncmp(function->name, "gs_loop_", 8))
		memcpy(&stream->parameters[1], parameters[1], 8);
	stream->done = false;
	stream->busy = !pthread_create(&stream->thread, NULL, kernel, stream);
	return CUDA_OK;
}

FAKE_EXPORT void fake_cuda_reset(void)
{
	for (struct CUstream_st *s = streams; s; s = s->next) {
		// The first word of what both have as their last parameter is the flag.
		uint64_t *stop = (uint64_t *)s->parameters[s->parameters[1] != 0];

		if (s->busy && strncmp(s->function->name, "gs_run_", 7))
			__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	}
	while (streams)
		cuStreamDestroy_v2(streams);
	while (blocks)
		cuMemFree_v2((uintptr_t)blocks->data);
	calls = 0;
	pushed = 0;
	fake = (struct fake_cuda){ .detectors = fake.detectors,
				   .version = 13000,
				   .devices = 1,
				   .major = 9,
				   .read_only = 1,
				   .registers = 1,
				   .free_memory = (size_t)8 << 30 };
}
