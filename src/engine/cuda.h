/* SPDX-License-Identifier: Apache-2.0 */
// The cuda engine: detectors on an NVIDIA GPU, run once or by themselves. Its parts: the device
// (cuda_device.c), the target's memory as the GPU sees it (cuda_memory.c), detectors that run by
// themselves (cuda_loop.h), and what ties them to engine.h (cuda.c).
#ifndef GS_ENGINE_CUDA_H
#define GS_ENGINE_CUDA_H

#include <pthread.h>
#include <stdbool.h>

#include <gpusentinel/control.h>

#include "engine/cuda_api.h"
#include "engine/internal.h"
#include "mailbox/reader.h"

// A stretch of target memory that was registered with the driver.
struct cuda_registration {
	void *address;
	size_t size;
};

// A segment of the target.
struct cuda_segment {
	// Copy in GPU memory; 0: registered where it is.
	cuda_address copy;
	// Added to our address of a registered page for the GPU's: 0 wherever addresses are unified.
	uint64_t delta;
	bool has_delta;
	// The presence bitmap in GPU memory, and ours: bit N = the GPU may read page N.
	cuda_address bitmap;
	uint64_t *readable;
	uint64_t pages;
};

struct cuda_memory {
	// struct gs_map and its segments in GPU memory.
	cuda_address map;
	struct cuda_segment *segments;
	size_t count;
	struct cuda_registration *registrations;
	size_t registration_count, registration_capacity;
	uint64_t bytes;
};

// A piece of GPU memory.
struct cuda_block {
	cuda_address address;
	size_t size;
	// Nobody uses it; it goes back to the driver when no kernel runs.
	bool kept;
};

// A detector's side; gs_detector.code.
struct cuda_detector {
	struct CUfunc_st *run, *loop;
	// Of a block, and how many of these.
	uint32_t threads, blocks;
	// Bytes of local memory that a thread of the loop takes; part of the GPU that all of it takes (cuda_fit.c).
	uint32_t local_size;
	uint64_t share;
	// Context and record buffer for both ways to run.
	cuda_address ctx, out, control;
	uint64_t out_size;
	struct CUstream_st *stream;
	// Row in the detector table; negative: none yet.
	int row;
	bool launched;
};

// A fat detector's side; loaded.code.
struct cuda_module {
	struct CUmod_st *module;
	cuda_address slots;
	// Its static variables are not as they were when it was loaded.
	bool used;
};

struct cuda {
	struct gs_engine *engine;
	struct cuda_api api;
	int device;
	// nvidia-smi's name, capability, version of CUDA.
	char description[192];
	bool read_only, cooperative;
	/** The target is mapped as page frames: see gs_target_io_memory(). */
	bool io_memory;
	// Of a processor, and how many processors there are.
	int max_registers, processors;
	struct CUctx_st *context;
	// Copies, and runs that end.
	struct CUstream_st *stream;
	// One thread at a time uses it.
	pthread_mutex_t lock;
	struct cuda_memory memory;
	// GPU memory that this engine holds, in no order.
	struct cuda_block *blocks;
	size_t block_count, block_capacity;
	// Unloaded when no kernel runs.
	struct CUmod_st **old_modules;
	size_t old_module_count, old_module_capacity;

	struct CUmod_st *supervisor_module;
	struct CUfunc_st *supervisor_function, *clock_function;

	// What follows exists from the first start on.
	cuda_address mailbox, crc32c, supervisor;
	// A dma-buf of the mailbox; negative: nobody has wanted one.
	int export_fd;
	struct CUstream_st *supervisor_stream;
	struct gs_mailbox_header header;
	// Kernels run, or may; the supervisor does.
	bool launched, supervised;
	// The supervisor's structure in GPU memory holds something.
	bool supervisor_filled;
	// The most local memory a thread for which the driver has made room.
	uint32_t local_size;
	// A detector was removed whose kernel does not return: nothing is given back any more.
	bool stuck;
	// Reads the mailbox, and delivers what it finds.
	struct mailbox_reader *reader;
	struct CUstream_st *reader_stream;
	// Reads the heartbeat and rows for whoever asks, who waits for no delivery.
	struct mailbox_reader *looker;
	struct CUstream_st *look_stream;
	pthread_mutex_t look_lock;
	pthread_t thread;
	bool has_thread;
	// Under the lock below.
	bool quit;
	pthread_mutex_t reader_lock;
	pthread_cond_t reader_wake;
	struct gs_detector *rows[GS_MAILBOX_DETECTORS];
	uint64_t delivered[GS_MAILBOX_DETECTORS];
	// Records that did not fit so far; bit N: more of them since detector N's buffer was last looked at.
	uint64_t lost[GS_MAILBOX_DETECTORS], short_of_room;
};

// The driver's context belongs to a thread between these.
struct gs_error *cuda_enter(struct cuda *cuda);
void cuda_leave(struct cuda *cuda);

// GPU memory and modules can be given back: calls that do so wait for all kernels.
static inline bool cuda_idle(const struct cuda *cuda)
{
	return !cuda->launched && !cuda->stuck;
}

// Choose and check the device; no memory is used yet.
struct gs_error *cuda_probe(struct cuda *cuda);
// Take it into use; cuda_device_close() ends also what was half opened.
struct gs_error *cuda_device_open(struct cuda *cuda);
void cuda_device_close(struct cuda *cuda);

// @threads: of the largest block that a kernel of the module is launched with. Kernels that run are ended for
// it: cuda_kernels_start() launches them again.
struct gs_error *cuda_module_load(struct cuda *cuda, const char *what, const char *ptx,
				  uint32_t threads, struct CUmod_st **ret);
void cuda_module_unload(struct cuda *cuda, struct CUmod_st **module);
// The code of a fat detector, and in it the two entries of one of its detectors.
struct gs_error *cuda_fat_load(struct cuda *cuda, const struct gs_fat *fat, struct CUmod_st **ret);
struct gs_error *cuda_fat_entries(struct cuda *cuda, const struct gs_fat *fat, size_t index,
				  struct CUmod_st *module, struct CUfunc_st **run_ret,
				  struct CUfunc_st **loop_ret);

// Memory, also while kernels run.
struct gs_error *cuda_alloc(struct cuda *cuda, const char *what, size_t size, cuda_address *ret);
void cuda_free(struct cuda *cuda, cuda_address *address);
// Both end when the bytes are there.
struct gs_error *cuda_write(struct cuda *cuda, cuda_address to, const void *from, size_t size);
struct gs_error *cuda_read(struct cuda *cuda, void *to, cuda_address from, size_t size);
struct gs_error *cuda_zero(struct cuda *cuda, cuda_address to, size_t size);
// Several blocks run at the same time, or not at all.
struct gs_error *cuda_launch(struct cuda *cuda, struct CUfunc_st *function, uint32_t threads,
			     uint32_t blocks, struct CUstream_st *stream, void **parameters,
			     const char *what);
// What the GPU's clock shows when ours shows the time since the epoch, as a difference.
struct gs_error *cuda_wall_offset(struct cuda *cuda, int64_t *ret);

// Refuse a detector that the GPU does not take, and fill in what it takes.
struct gs_error *cuda_fit(struct cuda *cuda, struct gs_detector *detector);

struct gs_error *cuda_memory_open(struct cuda *cuda);
// Registers pages that came into being since. Kernels that run see them.
struct gs_error *cuda_memory_refresh(struct cuda *cuda);
// @entered: in the context; else nothing can be given back to the driver.
void cuda_memory_close(struct cuda *cuda, bool entered);

// Launch whatever does not run yet, and end everything: the kernels return, their state stays.
struct gs_error *cuda_start(struct gs_engine *engine);
void cuda_stop(struct gs_engine *engine);
struct gs_error *cuda_heartbeat(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret);
struct gs_error *cuda_row(struct gs_engine *engine, uint32_t index,
			  struct gs_mailbox_detector *ret);
// The mailbox has pages of its own, so that nothing else is exported with it.
#define CUDA_MAILBOX_SIZE(size) (((size) + (2 << 20) - 1) & ~(uint64_t)((2 << 20) - 1))
struct gs_error *cuda_progress(struct gs_engine *engine, struct gs_mailbox_progress *ret);
struct gs_error *cuda_export(struct gs_engine *engine, struct gs_mailbox_export *ret);
void cuda_export_close(struct cuda *cuda);
void cuda_loop_forget(struct gs_detector *detector);
void cuda_loop_remove(struct gs_detector *detector);

extern const char supervisor_ptx[];

#endif
