// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call)                                                                 \
	do {                                                                        \
		if ((call) != 0) {                                                  \
			fprintf(stderr, "legal: %s: %s\n", #call, strerror(errno)); \
			_exit(1);                                                   \
		}                                                                   \
	} while (0)

// Long enough to be seen in between.
static void dwell(void)
{
	usleep(700 * 1000);
}

// A daemon that serves a user, and takes its rights back for what needs them.
static void daemon_like(void)
{
	CHECK(setresuid(1000, 1000, 0));
	dwell();
	CHECK(setresuid(0, 0, 0));
	dwell();
	CHECK(seteuid(1000));
	dwell();
	CHECK(seteuid(0));
	dwell();
	CHECK(setresuid(1000, 1000, 1000));
	dwell();
}

// A service that keeps its capabilities when it gives up user 0.
static void keeps_capabilities(void)
{
	CHECK(prctl(PR_SET_KEEPCAPS, 1));
	CHECK(setresuid(1000, 1000, 1000));
	dwell();
	dwell();
}

// A rootless container: user 0 of a namespace of its own.
static void makes_a_namespace(void)
{
	CHECK(setresuid(1000, 1000, 1000));
	dwell();
	CHECK(unshare(CLONE_NEWUSER));
	dwell();
	CHECK(prctl(PR_SET_DUMPABLE, 1));
	int map = open("/proc/self/uid_map", O_WRONLY);

	CHECK(write(map, "0 1000 1", 8) != 8);
	CHECK(setresuid(0, 0, 0));
	dwell();
}

static void *sleeps(void *unused)
{
	(void)unused;
	dwell();
	return NULL;
}

static void has_threads(void)
{
	CHECK(setresuid(1000, 1000, 1000));
	for (int i = 0; i < 10; i++) {
		pthread_t threads[4];

		for (int t = 0; t < 4; t++)
			CHECK(pthread_create(&threads[t], NULL, sleeps, NULL));
		for (int t = 0; t < 4; t++)
			CHECK(pthread_join(threads[t], NULL));
	}
}

// What sudo does. The file has the bit: the second stage is user 0 in effect, and becomes so in full.
static void sudo_like(void)
{
	CHECK(setresuid(1000, 1000, 1000));
	dwell();
	execl("/tmp/legal-setuid/legal", "legal", "second", (char *)NULL);
	CHECK(errno);
}

static void second_stage(void)
{
	CHECK(geteuid());
	dwell();
	CHECK(setresuid(0, 0, 0));
	dwell();
	execl("/bin/busybox", "busybox", "sleep", "1", (char *)NULL);
	CHECK(errno);
}

// All changes of credentials that are allowed, at the same time; exit status 1 if one was refused.
int legal_main(int argc, char **argv)
{
	static void (*const ways[])(void) = { daemon_like, keeps_capabilities, makes_a_namespace,
					      has_threads, sudo_like };
	int failures = 0, status;

	if (argc > 1 && strcmp(argv[1], "second") == 0)
		second_stage();
	if (system("mkdir -p /tmp/legal-setuid && cp /bin/box /tmp/legal-setuid/legal") != 0)
		return 1;
	CHECK(chmod("/tmp/legal-setuid/legal", 04755));
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (fork() == 0) {
			ways[i]();
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failures += status != 0;
	return failures != 0;
}
