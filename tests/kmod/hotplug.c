// SPDX-License-Identifier: Apache-2.0
/* Memory that goes offline: not what is mapped, and else user space is told. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static bool listed(int fd, uint64_t start)
{
	struct ram *ram = ram_list(fd);
	bool found = ram_has(ram, start) && ram_has(ram, start + block_size - PAGE);

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
	check(!ram_has(ram, start) && !ram_has(ram, start + block_size - PAGE) &&
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

// Open, map what there is, read it, close. What is mapped does not go, so each read succeeds.
static void open_and_read(uint64_t *opens, uint64_t *signals)
{
	for (;;) {
		struct gpusentinel_range ranges[16];
		struct gpusentinel_map map = { .ranges = (uintptr_t)ranges, .capacity = 16 };
		int fd = device_open();

		if (ioctl(fd, GPUSENTINEL_IOC_MAP, &map) && errno != EAGAIN)
			err(1, "GPUSENTINEL_IOC_MAP");
		for (unsigned int i = 0; i < map.count && i < 16; i++) {
			uint64_t size = ranges[i].size;
			volatile uint8_t *at =
				mmap(NULL, size, PROT_READ, MAP_SHARED, fd, ranges[i].start);

			if (at == MAP_FAILED && errno != EAGAIN && errno != ENXIO)
				err(1, "mmap");
			if (at == MAP_FAILED)
				continue;
			for (uint64_t offset = 0; offset < size; offset += 16 * HUGE_PAGE)
				*signals += signal_of_read(at + offset) != 0;
			munmap((void *)at, size);
		}
		close(fd);
		++*opens;
		usleep(*opens % 8 * 1000);
	}
}

static void goes_and_comes_meanwhile(unsigned int block)
{
	uint64_t *counts =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int gone = 0, stayed = 0, status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid)
		open_and_read(&counts[0], &counts[1]);
	for (int i = 0; i < 400 && (i < 40 || !gone || !stayed || !counts[0]); i++) {
		if (block_set(block, "offline")) {
			stayed++;
			usleep(2000);
			continue;
		}
		gone++;
		block_online(block);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	check(WIFSIGNALED(status) && counts[0] && gone && stayed && !counts[1],
	      "while it is opened %" PRIu64
	      " times, the block goes %d times and stays %d times: %" PRIu64 " reads fail",
	      counts[0], gone, stayed, counts[1]);
	munmap(counts, PAGE);
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
	goes_and_comes_meanwhile(block);
}
