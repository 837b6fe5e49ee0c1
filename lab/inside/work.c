// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum { MEMORY = 64 << 20, STRIDE = 64 };

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
static uint64_t compute(uint64_t rounds)
{
	uint64_t x = 1;

	for (uint64_t i = 0; i < rounds * 1000; i++)
		x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9) + i;
	return x;
}

// Copies, which run at the speed of memory also in an emulated machine, and one word of each line.
static uint64_t move(char *memory, uint64_t rounds)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		memcpy(memory, memory + MEMORY / 2, MEMORY / 2);
		for (size_t at = 0; at < MEMORY; at += STRIDE)
			sum += *(volatile uint64_t *)(memory + at);
		memory[MEMORY / 2 + i % 4096]++;
	}
	return sum;
}

int work_main(int argc, char **argv)
{
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	char *memory = MAP_FAILED;

	if (!rounds || (strcmp(argv[1], "cpu") && strcmp(argv[1], "memory"))) {
		fprintf(stderr, "usage: work cpu|memory ROUNDS\n");
		return 2;
	}
	if (*argv[1] == 'm') {
		memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (memory == MAP_FAILED) {
			perror("work: mmap");
			return 1;
		}
	}

	uint64_t wall = now_us(), cpu = cpu_us();
	uint64_t sum = *argv[1] == 'm' ? move(memory, rounds) : compute(rounds);

	wall = now_us() - wall;
	cpu = cpu_us() - cpu;
	printf("wall_us=%llu cpu_us=%llu sum=%llx\n", (unsigned long long)wall,
	       (unsigned long long)cpu, (unsigned long long)sum);
	return 0;
}
