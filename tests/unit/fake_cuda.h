/* SPDX-License-Identifier: Apache-2.0 */
// A stand-in for libcuda.so.1 that keeps books and can be told to fail. GPU memory is memory of this process;
// a kernel that is launched runs in a thread: the detectors of the file that the test names, and the
// supervisor, from the sources that also become PTX.
#ifndef TEST_FAKE_CUDA_H
#define TEST_FAKE_CUDA_H

#include <stddef.h>

#define FAKE_EXPORT __attribute__((visibility("default")))

struct fake_cuda {
	// Functions that are called "gs_run_NAME" are looked up in this shared object.
	void *detectors;
	// The @fail_at'th call of @fail_symbol (from 1) returns @fail_with, and does nothing; 0: none.
	const char *fail_symbol;
	unsigned int fail_at, fail_with;
	// True once that has happened.
	_Bool failed;
	// What the device and driver say.
	int version, devices, major, mode, read_only, registers, cooperative, dma_buf;
	// Of any kernel: the largest block, and how many a processor takes.
	int max_threads, occupancy;
	size_t free_memory;
	// Registered memory is seen at its own address plus a multiple of this, another for each stretch.
	size_t shift;
	// Outstanding: allocations, registrations, modules, streams, contexts retained, contexts pushed.
	int allocations, registrations, modules, links, streams, contexts, pushed;
	// Kernels launched so far, and the dimensions of the last one.
	unsigned int launches, launched_blocks, launched_threads;
	// Registers a thread that the last module was allowed; 0: any number.
	int max_registers;
	// What was registered, in order.
	struct {
		void *address;
		size_t size;
		unsigned int flags;
	} registered[64];
	int registered_count;
	// Calls of anything that needs a context without one; copies outside what is allocated.
	int misuses;
	// Calls that wait for all kernels, made while some run (tests/gpu/probe_async.c says which).
	int unsafe;
};

struct fake_cuda *fake_cuda(void);
// End all kernels, forget everything.
void fake_cuda_reset(void);

#endif
