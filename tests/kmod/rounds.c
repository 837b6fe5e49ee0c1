// SPDX-License-Identifier: Apache-2.0
/* Open, map, touch, kill, unload: what is left behind shows in the guest's log, or in its counts of objects. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static int unload(void)
{
	return syscall(SYS_delete_module, "gpusentinel", O_NONBLOCK);
}

static void load(void)
{
	int fd = open(module_path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		err(1, "%s", module_path);
	close(fd);
	// devtmpfs makes the node while the module loads.
}

// In every second round it dies in the midst of touching.
static void round_once(int number)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	if (pipe(ready) || (pid = fork()) < 0)
		err(1, "a process");
	if (!pid) {
		int fd = device_open();
		struct ram *ram = ram_list(fd);

		ram_map(fd, ram);
		if (number % 2 && write(ready[1], "x", 1) != 1)
			_exit(1);
		ram_touch(ram);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			ram_touch(ram);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		errx(1, "round %d: the opener has ended", number);
	if (number % 2)
		usleep(number * 997 % 20000);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		errx(1, "round %d: the opener ended by itself", number);
	close(ready[0]);
}

// Address spaces that the kernel has, as its allocator counts them.
static long address_spaces(void)
{
	char *text = file_text("/proc/slabinfo"), *at = strstr(text, "\nmm_struct ");
	long count = at ? strtol(at + strlen("\nmm_struct "), NULL, 10) : -1;

	free(text);
	return count;
}

static void short_lives(int count)
{
	for (int i = 0; i < count; i++) {
		int status;
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			int fd = device_open();

			(void)*range_map(fd, 0x100000, 16 * PAGE);
			(void)*range_map(fd, 0x200000, 16 * PAGE);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			errx(1, "open() %d of %d fails", i, count);
	}
}

void check_rounds(void)
{
	long spaces, more;
	int fd = device_open(), done;

	refused(unload(), EWOULDBLOCK, "unloading while the device is open");
	close(fd);
	for (done = 0; done < rounds; done++) {
		round_once(done);
		if (unload()) {
			check(false, "round %d: unloading: %s", done, strerrorname_np(errno));
			break;
		}
		load();
	}
	check(done == rounds, "%d rounds of open, map, touch, kill, unload and load", done);

	spaces = address_spaces();
	short_lives(300);
	more = address_spaces() - spaces;
	check(spaces > 0 && more < 150, "300 openers later there are %+ld address spaces", more);
}
