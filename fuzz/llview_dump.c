// SPDX-License-Identifier: Apache-2.0
// llview --dump, which reads fat detectors by itself. Input as in engine_fat.
#include <stdbool.h>
#include <stdlib.h>

#include "fat_image.h"
#include "memory_file.h"
#include "llview.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// llview.c has it, which needs all of LLVM.
void lv_enomem(void)
{
	abort();
}

// What it prints is of no use here; libFuzzer itself prints to stderr.
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[MEMORY_FILE_PATH];
	size_t image_size;
	uint8_t *image = fat_image_input(data, size, &image_size);
	int fd = image ? memory_file(image, image_size, path) : -1;

	free(image);
	if (fd < 0)
		return 0;
	gs_error_destroy(lv_dump(path));
	close(fd);
	return 0;
}
