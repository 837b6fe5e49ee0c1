/* SPDX-License-Identifier: Apache-2.0 */
// Input for what reads files: a file in memory, and its name.
#ifndef FUZZ_MEMORY_FILE_H
#define FUZZ_MEMORY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MEMORY_FILE_PATH = 64,
};

// A descriptor, -1 if there is none.
static inline int memory_file(const uint8_t *data, size_t size, char path[MEMORY_FILE_PATH])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (write(fd, data, size) != (ssize_t)size) {
		close(fd);
		return -1;
	}
	snprintf(path, MEMORY_FILE_PATH, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
