// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 64 << 20, STRIDE = 64, ROUNDS_MAX = 10000 };

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * UINT64_C(1000000) +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

// Registers only.
static uint64_t compute(uint64_t x)
{
	for (uint64_t i = 0; i < 10000000; i++)
		x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9) + i;
	return x;
}

// Copies, which run at the speed of memory also in an emulated machine, and one word of each line.
static uint64_t move(char *memory)
{
	uint64_t sum = 0;

	memcpy(memory, memory + MEMORY / 2, MEMORY / 2);
	for (size_t at = 0; at < MEMORY; at += STRIDE)
		sum += *(volatile uint64_t *)(memory + at);
	memory[MEMORY / 2]++;
	return sum;
}

// The same pages in every run: others may lie better or worse in caches.
static char *map_memory(void)
{
	int fd = open("/tmp/work.memory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *memory = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, MEMORY))
		memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
			      0);
	if (memory == MAP_FAILED)
		perror("/tmp/work.memory");
	return memory;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int work_main(int argc, char **argv)
{
	static uint64_t took[ROUNDS_MAX];
	int rounds = argc > 2 ? atoi(argv[2]) : 0;
	char *memory = NULL;
	uint64_t sum = 1;

	if (rounds < 1 || rounds > ROUNDS_MAX ||
	    (strcmp(argv[1], "cpu") && strcmp(argv[1], "memory"))) {
		fprintf(stderr, "usage: work cpu|memory ROUNDS\n");
		return 2;
	}
	if (*argv[1] == 'm' && (memory = map_memory()) == MAP_FAILED)
		return 1;

	uint64_t wall = now_us(), cpu = cpu_us();

	for (int i = 0; i < rounds; i++) {
		uint64_t begin = now_us();

		sum = memory ? sum + move(memory) : compute(sum);
		took[i] = now_us() - begin;
	}
	wall = now_us() - wall;
	cpu = cpu_us() - cpu;
	qsort(took, rounds, sizeof(*took), compare_u64);
	printf("wall_us=%llu cpu_us=%llu round_us=%llu sum=%llx\n", (unsigned long long)wall,
	       (unsigned long long)cpu, (unsigned long long)took[rounds / 2],
	       (unsigned long long)sum);
	return 0;
}
