// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((noreturn)) static void spin(void)
{
	for (volatile unsigned long i = 0;; i++)
		;
}

int cpu_hog_main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;

	if (count < 1 || count > 10000) {
		fprintf(stderr, "usage: cpu-hog COUNT\n");
		return 2;
	}
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("cpu-hog: fork");
			return 1;
		}
		if (pid == 0) {
			setsid();
			spin();
		}
	}
	printf("%d\n", count);
	return 0;
}

int rt_hog_main(int argc, char **argv)
{
	int cpu = argc > 1 ? atoi(argv[1]) : -1;
	struct sched_param param = { .sched_priority = 50 };
	cpu_set_t cpus;

	if (cpu < 0 || cpu >= CPU_SETSIZE) {
		fprintf(stderr, "usage: rt-hog CPU\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) {
		perror("rt-hog: affinity");
		return 1;
	}
	pid_t pid = fork();

	if (pid < 0) {
		perror("rt-hog: fork");
		return 1;
	}
	if (pid == 0) {
		setsid();
		if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
			_exit(1);
		spin();
	}
	printf("%d\n", pid);
	return 0;
}
