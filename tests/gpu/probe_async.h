/* SPDX-License-Identifier: Apache-2.0 */
// What the probes share: a process with a context and kernels that do not end, and one call timed beside them.
#ifndef TEST_PROBE_ASYNC_H
#define TEST_PROBE_ASYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/cuda_api.h"

enum {
	KERNELS_MAX = 6,
	BLOCKS_AFTER_S = 3,
	SIZE = 64 << 20,
};

// What the engine does not call; looked up here. Parameters as in cuda.h.
struct ipc_handle {
	char bytes[64];
};

struct state {
	struct cuda_api api;
	struct CUctx_st *context;
	struct CUmod_st *module;
	struct CUstream_st *streams[KERNELS_MAX], *stream;
	int kernels;
	// The page of ptx_spin, as the GPU knows it.
	volatile uint64_t *page;
	cuda_address device_page;
	// Where kernels count: words in the page from 8 on, or GPU memory.
	cuda_address alive;
	// What a probe has made ready.
	cuda_address memory;
	struct CUmod_st *other;
	struct CUfunc_st *function;
	struct CUstream_st *other_stream;
	void *host;
	struct ipc_handle handle;
	uint64_t word;
};

extern struct state state;
// What lines of output begin with.
extern char label[128];

void on_alarm(int signal);
// Say that the probe cannot be made, and end this process.
void must(unsigned int result, const char *what);
void *symbol(const char *name);
void sleep_ms(long ms);

void open_context(void);
void open_page(void);
// Returns when all have begun to count, if they count where this process sees it.
void launch_kernels(void);
void run_call(unsigned int (*call)(void));
// @return false if it had to be killed.
bool reap(pid_t pid, int seconds, int *status_ret);

void prepare_alloc(void);
unsigned int call_set(void);
unsigned int call_ipc_get(void);

// Two processes: one owns memory in which its kernels count and is stopped, the other one reads that memory.
void run_ipc(void);

#endif
