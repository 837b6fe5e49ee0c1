/* SPDX-License-Identifier: Apache-2.0 */
// The two processes of nic.c.
#ifndef TESTS_GPU_NIC_H
#define TESTS_GPU_NIC_H

#include <sys/types.h>

#include <gpusentinel/engine.h>

// What the process that watches tells the other one, once.
struct nic_handover {
	struct gs_mailbox_export export;
	// CUipcMemHandle
	char handle[64];
	// Of the process that made it.
	pid_t pid;
};

// Fill in the handle by which another process opens the mailbox in GPU memory.
void nic_share(struct nic_handover *handover);

// The monitor: so many requests, eight at a time, or fewer if that takes longer. @core: the memory that is watched, to compare
// with. @return exit status.
int nic_monitor(const char *core, int from, int device, uint64_t requests, uint64_t seconds_max,
		pid_t watcher);

#endif
