// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int stuck_writer_main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: stuck-writer FILE\n");
		return 2;
	}
	int fd = open(argv[1], O_WRONLY | O_APPEND);

	if (fd < 0 || write(fd, "x", 1) != 1) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
