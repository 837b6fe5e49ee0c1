// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct bomb {
	atomic_int born;
	atomic_int refused;
};

// Every process forks until the common count is reached: the classic bomb, with an end.
static void explode(struct bomb *bomb, int limit, bool hold)
{
	bool first = false;

	while (atomic_load(&bomb->refused) == 0) {
		if (atomic_fetch_add(&bomb->born, 1) >= limit) {
			atomic_fetch_sub(&bomb->born, 1);
			break;
		}
		pid_t pid = fork();

		if (pid < 0) {
			atomic_fetch_sub(&bomb->born, 1);
			first = atomic_fetch_add(&bomb->refused, 1) == 0;
			break;
		}
	}
	while (hold && first && fork() != 0)
		usleep(1000);
	for (;;)
		pause();
}

// Where no fork succeeds, nobody else can end it. @bomb's processes are a process group.
static void end_later(struct bomb *bomb, pid_t group, int seconds, const char *script)
{
	if (fork() != 0)
		return;
	setsid();
	for (int i = 0; i < 3; i++)
		close(i);
	while (atomic_load(&bomb->refused) == 0)
		usleep(20 * 1000);
	sleep(seconds);
	kill(-group, SIGKILL);
	execl("/bin/sh", "sh", script, (char *)NULL);
	_exit(127);
}

int forkbomb_main(int argc, char **argv)
{
	int limit = argc > 1 ? atoi(argv[1]) : 0;
	struct bomb *bomb = mmap(NULL, sizeof(*bomb), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int go[2];

	if (limit < 1 || bomb == MAP_FAILED) {
		fprintf(stderr, "usage: forkbomb COUNT [hold [SECONDS SCRIPT]]\n");
		return 2;
	}
	atomic_store(&bomb->born, 1);
	if (pipe(go) != 0) {
		perror("forkbomb: pipe");
		return 1;
	}
	pid_t pid = fork();

	if (pid < 0) {
		perror("forkbomb: fork");
		return 1;
	}
	if (pid == 0) {
		char byte;

		setsid();
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		explode(bomb, limit, argc > 2);
	}
	if (argc > 4)
		end_later(bomb, pid, atoi(argv[3]), argv[4]);
	if (write(go[1], "", 1) != 1)
		return 1;
	while (atomic_load(&bomb->born) < limit && atomic_load(&bomb->refused) == 0)
		usleep(20 * 1000);
	// Those that are about to be refused count until they are.
	for (int last = -1; last != atomic_load(&bomb->born);) {
		last = atomic_load(&bomb->born);
		usleep(200 * 1000);
	}
	printf("%d\n", atomic_load(&bomb->born));
	return 0;
}
