// SPDX-License-Identifier: Apache-2.0
// A line of /proc/PID/maps. The kernel writes it, but a process chooses the names in it.
#include <stdlib.h>
#include <string.h>

#include "target/procmaps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);
	struct gs_vma vma;

	if (!line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	if (gs_vma_parse(line, &vma)) {
		struct gs_vmas vmas = { .vmas = &vma, .count = 1 };

		if (vma.begin >= vma.end || gs_vmas_find(&vmas, vma.begin) != &vma ||
		    gs_vmas_find(&vmas, vma.end))
			abort();
	}
	free(line);
	return 0;
}
