// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	STEP = 4 << 20,
	// Slow enough (some 200 MB/s) that a monitor with a period of 100 ms sees memory fall.
	STEP_US = 20 * 1000,
};

int hog_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (;;) {
		void *p = mmap(NULL, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		if (p == MAP_FAILED) {
			perror("hog: mmap");
			return 1;
		}
		memset(p, 0x5a, STEP);
		usleep(STEP_US);
	}
}
