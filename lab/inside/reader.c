// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK = 4096 };

// Past the page cache, a block behind the other.
int reader_main(int argc, char **argv)
{
	int pause_ms = argc > 2 ? atoi(argv[2]) : 0;
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
	void *block = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || block == MAP_FAILED) {
		fprintf(stderr, "usage: reader DEVICE [PAUSE-MS]\n");
		return 2;
	}
	for (off_t at = 0;; usleep(pause_ms * 1000)) {
		ssize_t n = pread(fd, block, BLOCK, at);

		at = n == BLOCK ? at + BLOCK : 0;
		if (n < 0)
			perror(argv[1]);
	}
}
