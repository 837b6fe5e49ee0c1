// SPDX-License-Identifier: Apache-2.0
#include "rt.c"
#include "publish.c"
#include "loop.c"
#define GS_DEVICE_HAS_RT
#include "supervisor.c"

#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct block {
	struct block *next;
	size_t size;
	uint64_t data[];
};

static struct CUstream_st *streams;
static struct block *blocks;
// The most local memory that a kernel so far had.
static int local_room;

void fake_idle_call(void)
{
	pthread_mutex_lock(&fake_lock);
	for (struct CUstream_st *s = streams; s; s = s->next)
		fake.unsafe += s->busy && !__atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&fake_lock);
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

	struct block *block = malloc(sizeof(*block) + size);

	// What nobody has written reads as rubbish.
	memset(block->data, 0xa5, size);
	block->size = size;
	pthread_mutex_lock(&fake_lock);
	block->next = blocks;
	blocks = block;
	fake.allocations++;
	pthread_mutex_unlock(&fake_lock);
	*ret = (uintptr_t)block->data;
	return CUDA_OK;
}

unsigned int cuMemFree_v2(cuda_address address)
{
	fake_idle_call();
	pthread_mutex_lock(&fake_lock);
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
	pthread_mutex_unlock(&fake_lock);
	ENTER("cuMemFree_v2");
	return CUDA_OK;
}

// A memfd that begins with the block's first page.
unsigned int cuMemGetHandleForAddressRange(void *ret, cuda_address address, size_t size,
					   unsigned int type, unsigned long long flags)
{
	ENTER("cuMemGetHandleForAddressRange");
	if (type != CUDA_HANDLE_DMA_BUF_FD || flags || size % 4096)
		return CUDA_INVALID_VALUE;

	int fd = memfd_create("fake-dma-buf", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, (const void *)(uintptr_t)address, 4096, 0) != 4096)
		return CUDA_OPERATING_SYSTEM;
	*(int *)ret = fd;
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
	fake_idle_call();
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

	pthread_mutex_lock(&fake_lock);
	for (struct block *block = blocks; block; block = block->next) {
		uintptr_t start = (uintptr_t)block->data;

		found |= at >= start && at - start <= block->size &&
			 size <= block->size - (at - start);
	}
	fake.misuses += !found;
	pthread_mutex_unlock(&fake_lock);
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

	pthread_mutex_lock(&fake_lock);
	stream->next = streams;
	streams = stream;
	fake.streams++;
	pthread_mutex_unlock(&fake_lock);
	*ret = stream;
	return CUDA_OK;
}

unsigned int cuStreamDestroy_v2(struct CUstream_st *stream)
{
	wait(stream);
	pthread_mutex_lock(&fake_lock);
	for (struct CUstream_st **p = &streams; *p; p = &(*p)->next) {
		if (*p == stream) {
			*p = stream->next;
			break;
		}
	}
	fake.streams--;
	pthread_mutex_unlock(&fake_lock);
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

// A thread of a detector's kernel.
struct lane {
	pthread_t thread;
	struct CUstream_st *stream;
	struct gs_ctx ctx;
};

static void *lane(void *arg)
{
	struct lane *lane = arg;
	struct gs_ctx *shared = (struct gs_ctx *)lane->stream->parameters[0];
	struct gs_control *control = (struct gs_control *)lane->stream->parameters[1];
	void (*run)(struct gs_ctx *ctx);

	memcpy(&run, &lane->stream->function->entry, sizeof(run));
	if (!strncmp(lane->stream->function->name, "gs_run_", 7)) {
		gs_rt_enter(&lane->ctx, shared);
		run(&lane->ctx);
		gs_rt_leave(&lane->ctx);
		return NULL;
	}
	for (uint32_t go; (go = gs_rt_loop_begin(&lane->ctx, shared, control));) {
		if (go == GS_LOOP_RUN)
			run(&lane->ctx);
		gs_rt_loop_end(&lane->ctx, control);
	}
	return NULL;
}

static void run_lanes(struct CUstream_st *stream)
{
	unsigned int count = stream->grid * stream->threads;
	struct gs_block *shared = calloc(stream->grid, sizeof(*shared));
	struct lane *lanes = calloc(count, sizeof(*lanes));

	for (unsigned int i = 0; i < count; i++) {
		lanes[i] = (struct lane){ .stream = stream,
					  .ctx = { .block = (uint64_t)&shared[i / stream->threads],
						   .thread_index = i } };
		pthread_create(&lanes[i].thread, NULL, lane, &lanes[i]);
	}
	for (unsigned int i = 0; i < count; i++)
		pthread_join(lanes[i].thread, NULL);
	free(lanes);
	free(shared);
}

static void *kernel(void *arg)
{
	struct CUstream_st *stream = arg;

	if (!strcmp(stream->function->name, "gs_supervisor"))
		gs_supervisor((struct gs_supervisor *)stream->parameters[0]);
	else if (!strcmp(stream->function->name, "gs_read_clock"))
		gs_read_clock((uint64_t *)stream->parameters[0]);
	else
		run_lanes(stream);
	__atomic_store_n(&stream->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static unsigned int launch(struct CUfunc_st *function, unsigned int grid, unsigned int threads,
			   struct CUstream_st *stream, void **parameters)
{
	if (threads > (unsigned int)fake.max_threads)
		return CUDA_INVALID_VALUE;
	if (fake_local_size(function) > local_room) {
		fake_idle_call();
		local_room = fake_local_size(function);
	}
	wait(stream);
	fake.launches++;
	fake.launched_blocks = grid;
	fake.launched_threads = threads;
	stream->function = function;
	stream->grid = grid;
	stream->threads = threads;
	memcpy(&stream->parameters[0], parameters[0], 8);
	if (!strncmp(function->name, "gs_loop_", 8))
		memcpy(&stream->parameters[1], parameters[1], 8);
	stream->done = false;
	stream->busy = !pthread_create(&stream->thread, NULL, kernel, stream);
	return CUDA_OK;
}

unsigned int cuLaunchKernel(struct CUfunc_st *function, unsigned int grid_x, unsigned int grid_y,
			    unsigned int grid_z, unsigned int block_x, unsigned int block_y,
			    unsigned int block_z, unsigned int shared, struct CUstream_st *stream,
			    void **parameters, void **extra)
{
	ENTER("cuLaunchKernel");
	// Several blocks wait for each other: they must all run.
	if (grid_x * grid_y * grid_z != 1 || block_y * block_z != 1 || shared || extra)
		return CUDA_INVALID_VALUE;
	return launch(function, grid_x, block_x, stream, parameters);
}

unsigned int cuLaunchCooperativeKernel(struct CUfunc_st *function, unsigned int grid_x,
				       unsigned int grid_y, unsigned int grid_z,
				       unsigned int block_x, unsigned int block_y,
				       unsigned int block_z, unsigned int shared,
				       struct CUstream_st *stream, void **parameters)
{
	ENTER("cuLaunchCooperativeKernel");
	if (!fake.cooperative)
		return CUDA_NOT_SUPPORTED;
	if (grid_y * grid_z * block_y * block_z != 1 || shared)
		return CUDA_INVALID_VALUE;
	return launch(function, grid_x, block_x, stream, parameters);
}

void fake_run_reset(void)
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
	local_room = 0;
}
