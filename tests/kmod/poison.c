// SPDX-License-Identifier: Apache-2.0
/* A page whose contents the hardware has lost is left out. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

// Break a page of a child's; its physical address, or 0 if the kernel has no way to.
static uint64_t break_page(void)
{
	uint64_t *told =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		char *page = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		page += HUGE_PAGE / 2;
		*page = 1;
		*told = physical_address(page);
		_exit(madvise(page, PAGE, MADV_HWPOISON) ? errno : 0);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EINVAL)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		errx(1, "MADV_HWPOISON: %s", strerror(WEXITSTATUS(status)));
	return *told;
}

static void reads_around(const struct ram *ram, uint64_t broken)
{
	const volatile uint8_t *at = ram_at(ram, broken);
	uint64_t low = broken & -HUGE_PAGE, bad = 0;

	check(at && signal_of_read(at) == SIGBUS, "the broken page at %#" PRIx64 ": SIGBUS",
	      broken);
	for (uint64_t page = low; at && page < low + HUGE_PAGE; page += PAGE) {
		const volatile void *each = ram_at(ram, page);

		if (each && page != broken)
			bad += signal_of_read(each) != 0;
	}
	check(!bad, "the others of its 2 MiB are read");
}

void check_poison(void)
{
	int fd = device_open();
	struct ram *before = ram_list(fd), *after;
	uint64_t broken = break_page();
	unsigned int i;

	if (!broken) {
		skip("pages that are broken: MADV_HWPOISON");
		return;
	}
	// By the map of before, in which the page still is.
	ram_map(fd, before);
	reads_around(before, broken);
	after = ram_list(fd);
	check(!ram_has(after, broken), "the map is without it");
	check(ram_has(after, broken - PAGE) && ram_has(after, broken + PAGE) &&
		      ram_bytes(after) == ram_bytes(before) - PAGE,
	      "and without nothing else: %u ranges", after->count);
	for (i = 0; i < after->count && after->ranges[i].start != broken + PAGE; i++)
		;
	check(i > 0 && i < after->count &&
		      after->ranges[i - 1].start + after->ranges[i - 1].size == broken,
	      "a range ends before it, and one begins behind it");
	ram_unmap(before);
	ram_map(fd, after);
	ram_touch(after);
	check(true, "all that the map has is read");
	ram_free(before);
	ram_free(after);
	close(fd);
}
