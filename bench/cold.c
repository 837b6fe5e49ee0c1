// SPDX-License-Identifier: Apache-2.0
// cold ROUNDS COMMAND...: run a command several times from exec to exit; print wall time and peak memory as JSON.
//
// Memory is the most that RssAnon and RssFile of /proc/PID/status add up to at any system call: everything but the
// pages of shared memory (RssShmem: the guest's RAM, which costs nothing).
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROUNDS 1000

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t status_kb(pid_t pid, const char *field)
{
	char path[64], line[256];
	uint64_t kb = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, field, strlen(field)))
			kb = strtoull(line + strlen(field) + 1, NULL, 10);
	}
	fclose(file);
	return kb;
}

static void start(char **command)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
		err(1, "/dev/null");
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		err(1, "ptrace");
	raise(SIGSTOP);
	execvp(command[0], command);
	err(127, "%s", command[0]);
}

// Without its own tracing, so that the stops do not count; with it, for the memory.
static uint64_t run_timed(char **command)
{
	uint64_t begin = now_us();
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
			err(1, "/dev/null");
		execvp(command[0], command);
		err(127, "%s", command[0]);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		errx(1, "%s: status %d", command[0], status);
	return now_us() - begin;
}

static uint64_t run_traced(char **command)
{
	pid_t pid = fork();
	int status;
	uint64_t kb = 0;

	if (pid < 0)
		err(1, "fork");
	if (!pid)
		start(command);
	if (waitpid(pid, &status, 0) < 0 || ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL))
		err(1, "ptrace");
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
			err(1, "ptrace");
		if (waitpid(pid, &status, 0) < 0)
			err(1, "waitpid");
		if (!WIFSTOPPED(status))
			break;

		uint64_t now = status_kb(pid, "RssAnon:") + status_kb(pid, "RssFile:");

		if (now > kb)
			kb = now;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "%s: status %d", command[0], status);
	return kb;
}

int main(int argc, char **argv)
{
	uint64_t times[MAX_ROUNDS];
	int rounds = argc > 2 ? atoi(argv[1]) : 0;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: cold ROUNDS COMMAND...");
	for (int i = 0; i < rounds; i++)
		times[i] = run_timed(argv + 2);
	qsort(times, rounds, sizeof(*times), compare);
	printf("{\"rounds\": %d, \"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f, \"peak_kib\": %llu}\n",
	       rounds, times[rounds / 2] / 1e3, times[0] / 1e3, times[rounds - 1] / 1e3,
	       (unsigned long long)run_traced(argv + 2));
	return 0;
}
