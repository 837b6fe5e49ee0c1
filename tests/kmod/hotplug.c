// SPDX-License-Identifier: Apache-2.0
/* Memory that goes offline, and memory that is broken. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define MEMORY "/sys/devices/system/memory/"

static uint64_t block_size;

static int block_set(unsigned int block, const char *state)
{
	char path[96];
	ssize_t written;
	int fd, error;

	snprintf(path, sizeof(path), MEMORY "memory%u/state", block);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	written = write(fd, state, strlen(state));
	error = errno;
	close(fd);
	errno = error;
	return written < 0 ? -1 : 0;
}

// Pages on their way elsewhere can make it fail for once.
static int block_offline(unsigned int block)
{
	int result = -1;

	for (int attempt = 0; result && attempt < 5; attempt++)
		result = block_set(block, "offline");
	return result;
}

static void block_online(unsigned int block)
{
	if (block_set(block, "online_movable") && block_set(block, "online"))
		err(1, "memory block %u does not come back", block);
}

// One that can go, as far as the kernel is concerned; -1: none.
static int block_find(const struct ram *ram)
{
	for (unsigned int i = 0; i < ram->count; i++) {
		const struct gpusentinel_range *range = &ram->ranges[i];
		uint64_t at = (range->start + block_size - 1) / block_size;

		for (; (at + 1) * block_size <= range->start + range->size; at++) {
			if (!block_offline(at)) {
				block_online(at);
				return at;
			}
		}
	}
	return -1;
}

static bool has(const struct ram *ram, uint64_t start)
{
	for (unsigned int i = 0; i < ram->count; i++)
		if (start >= ram->ranges[i].start &&
		    start - ram->ranges[i].start < ram->ranges[i].size)
			return true;
	return false;
}

static bool listed(int fd, uint64_t start)
{
	struct ram *ram = ram_list(fd);
	bool found = has(ram, start) && has(ram, start + block_size - PAGE);

	ram_free(ram);
	return found;
}

static bool changed(int fd, int timeout)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLPRI };

	return poll(&poll_fd, 1, timeout) == 1 && poll_fd.revents == POLLPRI;
}

static void offline_a_moment_later(unsigned int block)
{
	fflush(stdout);
	if (fork())
		return;
	usleep(200000);
	_exit(block_offline(block) != 0);
}

static void watched_memory_stays(unsigned int block)
{
	uint64_t start = block * block_size;
	int fd = device_open();
	struct ram *ram = ram_list(fd);
	volatile uint8_t *at;

	ram_map(fd, ram);
	refused(block_set(block, "offline"), EBUSY, "memory block %u offline, while all is mapped",
		block);
	ram_touch(ram);
	refused(block_set(block, "offline"), EBUSY, "the same when it is touched");
	check(!changed(fd, 0), "poll(): memory is as it was");
	ram_unmap(ram);
	refused(block_set(block, "offline"), EBUSY,
		"the same after munmap(): a GPU may still read it");
	ram_free(ram);
	close(fd);
	check(!block_offline(block), "after close() the block goes offline");
	block_online(block);

	fd = device_open();
	at = range_map(fd, start + block_size - PAGE, PAGE);
	refused(block_set(block, "offline"), EBUSY, "one page of it mapped");
	munmap((void *)at, PAGE);
	close(fd);
}

static void other_memory_goes(unsigned int block)
{
	uint64_t start = block * block_size;
	int fd = device_open(), status;
	struct ram *ram = ram_list(fd);
	volatile uint8_t *at = range_map(fd, ram->ranges[ram->count - 1].start, PAGE);
	uint64_t generation = ram->generation;

	ram_free(ram);
	check(!changed(fd, 0) && listed(fd, start),
	      "the block is in the map, and poll() has no news");
	offline_a_moment_later(block);
	check(changed(fd, 20000), "it goes offline while poll() waits: POLLPRI");
	wait(&status);
	check(!status, "it is not mapped, so it may");
	check(changed(fd, 0), "poll() says so until the map is read");
	ram = ram_list(fd);
	check(!has(ram, start) && !has(ram, start + block_size - PAGE) &&
		      ram->generation > generation,
	      "the map is without it, generation %" PRIu64, ram->generation);
	check(!changed(fd, 0), "poll() has no more news");
	refused((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, start), ENXIO, "mmap() of it");
	refused((long)mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, start - PAGE), ENXIO,
		"mmap() of a range that ends in it");
	check(!signal_of_read(at), "other memory is still read");
	block_online(block);
	check(changed(fd, 0) && listed(fd, start), "it comes back: POLLPRI, and it is in the map");
	munmap((void *)at, PAGE);
	at = range_map(fd, start, block_size);
	check(!signal_of_read(at) && !signal_of_read(at + block_size - PAGE), "and is read");
	munmap((void *)at, block_size);
	ram_free(ram);
	close(fd);
}

void check_hotplug(void)
{
	char *size = file_text(MEMORY "block_size_bytes");
	struct ram *ram;
	int fd, block;

	block_size = strtoull(size, NULL, 16);
	free(size);
	fd = device_open();
	ram = ram_list(fd);
	block = block_find(ram);
	ram_free(ram);
	close(fd);
	if (block < 0) {
		skip("memory that can go offline: no block of %" PRIu64 " MiB", block_size >> 20);
		return;
	}
	watched_memory_stays(block);
	other_memory_goes(block);
}

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

static void reads_around(int fd, struct ram *ram, uint64_t broken)
{
	const volatile uint8_t *at = ram_at(ram, broken);
	uint64_t low = broken & -HUGE_PAGE, bad = 0;

	(void)fd;
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
	reads_around(fd, before, broken);
	after = ram_list(fd);
	check(!has(after, broken), "the map is without it");
	check(has(after, broken - PAGE) && has(after, broken + PAGE) &&
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
