/* SPDX-License-Identifier: Apache-2.0 */
// What the two halves of the stand-in share: the device with its code (fake_cuda.c); its memory, streams and
// kernels (fake_run.c).
#ifndef TEST_FAKE_INTERNAL_H
#define TEST_FAKE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/cuda_api.h"
#include "fake_cuda.h"

struct CUfunc_st {
	char name[64];
	void *entry;
};

struct CUmod_st {
	struct CUmod_st *next;
	struct CUfunc_st functions[16];
	int count;
};

struct CUstream_st {
	struct CUstream_st *next;
	pthread_t thread;
	bool busy, done;
	struct CUfunc_st *function;
	uint64_t parameters[2];
	unsigned int grid, threads;
};

// Books, and the lock that they are kept under.
extern struct fake_cuda fake;
extern pthread_mutex_t fake_lock;

// Counts a call; the result that it is to have.
unsigned int fake_called(const char *symbol, bool needs_context);
// What the driver does only when no kernel runs.
void fake_idle_call(void);
int fake_local_size(const struct CUfunc_st *function);
// End all kernels, take all memory and streams back.
void fake_run_reset(void);

#define ENTER(symbol)                                             \
	do {                                                      \
		unsigned int result_ = fake_called(symbol, true); \
		if (result_)                                      \
			return result_;                           \
	} while (0)
#define ENTER_FREELY(symbol)                                       \
	do {                                                       \
		unsigned int result_ = fake_called(symbol, false); \
		if (result_)                                       \
			return result_;                            \
	} while (0)

#define DECLARE(member, symbol, parameters) FAKE_EXPORT unsigned int symbol parameters;
CUDA_FUNCTIONS(DECLARE)
CUDA_FUNCTIONS_LATER(DECLARE)

#endif
