// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP_US = 50 * 1000 };

static char *take(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	memset(memory, 0x5a, size);
	return memory;
}

int leak_main(int argc, char **argv)
{
	int rate = argc > 1 ? atoi(argv[1]) : 0;
	uint64_t limit = argc > 2 ? strtoull(argv[2], NULL, 10) << 20 : 0;

	if (rate < 1024 / (1000000 / STEP_US) || rate > 4 << 20) {
		fprintf(stderr, "usage: leak KIB-PER-SECOND [MIB]\n");
		return 2;
	}
	size_t step = (size_t)rate * 1024 / (1000000 / STEP_US) / 4096 * 4096;

	for (uint64_t taken = 0;; usleep(STEP_US)) {
		if (!limit || taken < limit) {
			take(step);
			taken += step;
		}
	}
}

int thrash_main(int argc, char **argv)
{
	int size = argc > 1 ? atoi(argv[1]) : 0;

	if (size < 1 || size > 64 << 10) {
		fprintf(stderr, "usage: thrash MIB\n");
		return 2;
	}
	uint64_t pages = ((uint64_t)size << 20) / 4096, random = 1;
	char *memory = take(pages * 4096);

	for (;;) {
		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		memory[(random >> 33) % pages * 4096]++;
	}
}

int hold_main(int argc, char **argv)
{
	int size = argc > 1 ? atoi(argv[1]) : 0;

	if (size < 1 || size > 64 << 10) {
		fprintf(stderr, "usage: hold MIB\n");
		return 2;
	}
	take((size_t)size << 20);
	for (;;)
		pause();
}
