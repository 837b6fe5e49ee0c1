// SPDX-License-Identifier: Apache-2.0
// floor RAM-FILE: what listing the processes costs at least: a plain loop over the task list of one frozen kernel,
// with every address and offset compiled in (constants.c) and no check of anything.
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include FLOOR_CONSTANTS

#define AT(type, base, member) (*(const type *)((base) + task_struct_##member))

int main(int argc, char **argv)
{
	struct stat stat;
	int file = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (file < 0 || fstat(file, &stat))
		err(1, "usage: floor RAM-FILE");

	const uint8_t *ram = mmap(NULL, stat.st_size, PROT_READ, MAP_SHARED, file, 0);
	if (ram == MAP_FAILED)
		err(1, "mmap");

	// Below the hole of the memory map, a physical address is an offset in the file.
	const uint8_t *task = ram + INIT_TASK_PHYS;
	for (;;) {
		uint64_t next = AT(uint64_t, task, tasks) - task_struct_tasks;

		if (next == INIT_TASK)
			break;
		task = ram + (next - DIRECT_MAP);

		uint64_t parent = AT(uint64_t, task, real_parent);
		const uint8_t *parent_task =
			parent == INIT_TASK ? ram + INIT_TASK_PHYS : ram + (parent - DIRECT_MAP);
		printf("%d %d %d %.15s %#x %llu\n", AT(int32_t, task, pid), AT(int32_t, task, tgid),
		       AT(int32_t, parent_task, tgid), (const char *)task + task_struct_comm,
		       AT(uint32_t, task, flags),
		       (unsigned long long)AT(uint64_t, task, start_boottime));
	}
	return 0;
}
