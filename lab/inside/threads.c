// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK_SIZE = 32 * 1024 };

static void *sleep_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return NULL;
}

int threads_main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0, started = 1, err = 0, answer[2];
	pthread_attr_t attr;
	pthread_t thread;

	if (count < 1 || pipe(answer) != 0) {
		fprintf(stderr, "usage: threads COUNT\n");
		return 2;
	}
	pid_t pid = fork();

	if (pid < 0) {
		perror("threads: fork");
		return 1;
	}
	// The child answers: threads do not survive a fork.
	if (pid > 0)
		return read(answer[0], &err, sizeof(err)) != sizeof(err);
	setsid();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	while (started < count && !(err = pthread_create(&thread, &attr, sleep_for_ever, NULL)))
		started++;
	printf("%d %s\n", started, strerror(err));
	fflush(stdout);
	if (write(answer[1], &err, sizeof(err)) != sizeof(err))
		return 1;
	for (int i = 0; i < 3; i++)
		close(i);
	sleep_for_ever(NULL);
	return 0;
}
