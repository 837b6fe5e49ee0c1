// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// Smallest stack that glibc takes with thread-local storage to spare: thousands of them must fit.
enum { STACK_SIZE = 32 * 1024 };

static void *sleep_for_ever(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "proc-thread");
	for (;;)
		pause();
	return NULL;
}

// Users and thread counts differ between the processes, so that a monitor that mixes up two tasks, or
// reads a field of the wrong one, disagrees with /proc.
static void become(int i)
{
	char comm[16];

	snprintf(comm, sizeof(comm), "proc-%05d", i);
	prctl(PR_SET_NAME, comm);
	if (i % 16 == 7) {
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK_SIZE);
		for (int n = 0; n < 2; n++) {
			pthread_t thread;

			if (pthread_create(&thread, &attr, sleep_for_ever, NULL) != 0)
				break;
		}
	}
	if (i % 4 == 3 && setuid(1000 + i % 7) != 0)
		_exit(1);
	for (;;)
		pause();
}

int procs_main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;

	for (int i = 1; i <= count; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			fprintf(stderr, "procs: %d of %d started: ", i - 1, count);
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			setsid();
			become(i);
		}
	}
	return 0;
}
