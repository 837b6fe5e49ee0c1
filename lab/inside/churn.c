// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MAPS = 64, MAP_PAGES_MAX = 256, PAUSE_US = 2000 };

static void *end_at_once(void *unused)
{
	return unused;
}

// Areas that come, change and go: splits and merges of VMAs, page tables built and torn down.
static int churn_once(void)
{
	struct {
		char *memory;
		size_t size;
	} maps[MAPS];
	pthread_t thread;

	for (int i = 0; i < MAPS; i++) {
		maps[i].size = (size_t)(1 + rand() % MAP_PAGES_MAX) * PAGE;
		maps[i].memory = mmap(NULL, maps[i].size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (maps[i].memory == MAP_FAILED)
			return 1;
		for (size_t at = 0; at < maps[i].size; at += 4 * PAGE)
			maps[i].memory[at] = 1;
		mprotect(maps[i].memory, PAGE, PROT_READ);
	}
	if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
		pthread_join(thread, NULL);
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	for (int i = 0; i < MAPS; i++)
		munmap(maps[i].memory, maps[i].size);
	return 0;
}

int churn_main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: churn FILE\n");
		return 2;
	}
	while (access(argv[1], F_OK) == 0) {
		if (churn_once()) {
			perror("churn: mmap");
			return 1;
		}
		usleep(PAUSE_US);
	}
	return 0;
}
