// SPDX-License-Identifier: Apache-2.0
// Protection of the watching process. Each test runs in a process of its own, which keeps it.
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/protect.h"

// The sanitizer makes mlockall() do nothing.
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { SIZE = 16 << 20, OK = 0, FAILED = 1, NOT_ALLOWED = 77 };

// A guest's memory: shared, mostly holes.
static struct gs_segment make_segment(int *fd_ret)
{
	struct gs_segment segment = { .size = SIZE };
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(pwrite(fd, "present", 7, SIZE / 2), 7);
	segment.host = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(segment.host, MAP_FAILED);
	*fd_ret = fd;
	return segment;
}

static int64_t allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_blocks;
}

// Kilobytes that are locked, of the mapping that @address is in, or of the process (NULL).
static int64_t locked(const void *address)
{
	FILE *file = fopen(address ? "/proc/self/smaps" : "/proc/self/status", "r");
	const char *key = address ? "Locked:" : "VmLck:";
	char line[4096];
	int64_t kilobytes = -1;
	int inside = !address;

	while (file && fgets(line, sizeof(line), file)) {
		uint64_t begin, end;

		if (address && sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2)
			inside = (uint64_t)address >= begin && (uint64_t)address < end;
		if (inside && !strncmp(line, key, strlen(key)))
			kilobytes = strtoll(line + strlen(key), NULL, 10);
	}
	if (file)
		fclose(file);
	return kilobytes;
}

static int run(int (*body)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int lock_and_look(void)
{
	int fd;
	struct gs_segment segment = make_segment(&fd);
	int64_t before = allocated(fd);
	struct gs_error *err = protect_process(&segment, 1);
	bool refused = err && strstr(err->message, "swapped out");

	gs_error_destroy(err);
	if (refused)
		return NOT_ALLOWED;
	if (allocated(fd) != before)
		return FAILED;
	// Reading what is there locks nothing of it, but new memory of our own is locked.
	if (((const volatile char *)segment.host)[SIZE / 2] != 'p' || locked(segment.host) > 0)
		return FAILED;

	char *own = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(own, 1, SIZE);
	if (allocated(fd) != before)
		return FAILED;
	return locked(own) == SIZE >> 10 ? OK : FAILED;
}

static void the_target_is_neither_filled_nor_locked(void **state)
{
	int result = SANITIZED ? NOT_ALLOWED : run(lock_and_look);

	(void)state;
	if (result == NOT_ALLOWED)
		skip();
	assert_int_equal(result, OK);
}

static int refuse(void)
{
	const struct rlimit limit = { 65536, 65536 };
	int fd;
	struct gs_segment segment = make_segment(&fd);

	// As anybody, with the limit that distributions set.
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || (!getuid() && setuid(65534)))
		return NOT_ALLOWED;

	struct gs_error *err = protect_process(&segment, 1);

	if (!err ||
	    !strstr(err->message, "swapped out or killed: run it as root, or give it CAP_IPC_LOCK"))
		return FAILED;
	gs_error_destroy(err);
	// Memory can be had beyond the limit of locked memory.
	return mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? FAILED
		       : OK;
}

static void who_may_not_is_told_what_helps(void **state)
{
	int result = run(refuse);

	(void)state;
	if (result == NOT_ALLOWED)
		skip();
	assert_int_equal(result, OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_target_is_neither_filled_nor_locked),
		cmocka_unit_test(who_may_not_is_told_what_helps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
