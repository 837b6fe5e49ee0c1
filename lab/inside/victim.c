// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

// What whoever has become root does next.
static void start_a_program(int signal)
{
	(void)signal;
	execl("/bin/busybox", "busybox", "sleep", "1000", (char *)NULL);
	_exit(1);
}

// The one process on which lab/rootkit plays its tricks. An ordinary user's, and it does nothing but start a program
// in its place on SIGUSR1.
int victim_main(int argc, char **argv)
{
	pid_t pid;

	(void)argc;
	(void)argv;
	// Before the fork: whoever reads the number finds the process as it shall be.
	prctl(PR_SET_NAME, "lab-victim");
	if (setgid(1000) != 0 || setuid(1000) != 0 || (pid = fork()) < 0) {
		perror("victim");
		return 1;
	}
	if (pid > 0) {
		printf("%d\n", (int)pid);
		return 0;
	}
	signal(SIGUSR1, start_a_program);
	setsid();
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	for (;;)
		pause();
}
