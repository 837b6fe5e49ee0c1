// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STACK_SIZE = 4096,
	// What processes that run already need.
	SPARE = 4096,
};

static void write_limit(const char *path, int value)
{
	FILE *file = fopen(path, "w");

	if (!file || fprintf(file, "%d\n", value) < 0)
		perror(path);
	if (file)
		fclose(file);
}

// On a stack that it shares with no other process, in memory that it shares with all of them: no library call that
// keeps state.
static int sleep_for_ever(void *name)
{
	syscall(SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
	for (;;)
		syscall(SYS_pause);
	return 0;
}

int sleepers_main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;

	if (count < 1 || count > 1000000) {
		fprintf(stderr, "usage: sleepers COUNT\n");
		return 2;
	}
	// The kernel's defaults go by the size of memory.
	write_limit("/proc/sys/kernel/pid_max", 4 * (count + SPARE));
	write_limit("/proc/sys/kernel/threads-max", count + SPARE);

	char *stacks = mmap(NULL, (size_t)count * STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stacks == MAP_FAILED) {
		perror("sleepers: mmap");
		return 1;
	}
	for (int i = 0; i < count; i++) {
		char *stack = stacks + (size_t)i * STACK_SIZE;

		snprintf(stack, 16, "sleep-%07d", i + 1);
		// Processes of their own, but of one memory: a copy of it would take most of the time.
		if (clone(sleep_for_ever, stack + STACK_SIZE, CLONE_VM | SIGCHLD, stack) < 0) {
			fprintf(stderr, "sleepers: %d of %d started: %s\n", i, count,
				strerror(errno));
			return 1;
		}
	}
	printf("%d\n", count);
	return 0;
}
