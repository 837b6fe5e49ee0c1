// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct bomb {
	atomic_int born;
	atomic_int refused;
};

// Every process forks until the common count is reached: the classic bomb, with an end.
static void explode(struct bomb *bomb, int limit)
{
	while (atomic_load(&bomb->refused) == 0) {
		if (atomic_fetch_add(&bomb->born, 1) >= limit) {
			atomic_fetch_sub(&bomb->born, 1);
			break;
		}
		pid_t pid = fork();

		if (pid < 0) {
			atomic_fetch_sub(&bomb->born, 1);
			atomic_fetch_add(&bomb->refused, 1);
			break;
		}
	}
	for (;;)
		pause();
}

int forkbomb_main(int argc, char **argv)
{
	int limit = argc > 1 ? atoi(argv[1]) : 0;
	struct bomb *bomb = mmap(NULL, sizeof(*bomb), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (limit < 1 || bomb == MAP_FAILED) {
		fprintf(stderr, "usage: forkbomb COUNT\n");
		return 2;
	}
	atomic_store(&bomb->born, 1);
	pid_t pid = fork();

	if (pid < 0) {
		perror("forkbomb: fork");
		return 1;
	}
	if (pid == 0) {
		setsid();
		explode(bomb, limit);
	}
	while (atomic_load(&bomb->born) < limit && atomic_load(&bomb->refused) == 0)
		usleep(20 * 1000);
	printf("%d\n", atomic_load(&bomb->born));
	return 0;
}
