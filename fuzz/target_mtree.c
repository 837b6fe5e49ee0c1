// SPDX-License-Identifier: Apache-2.0
// QEMU's answer to "info mtree -f": a guest that broke out of QEMU writes what it likes.
#include <stdlib.h>
#include <string.h>

#include "target/mtree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gs_mtree_range *ranges = NULL;
	size_t count = 0;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';

	struct gs_error *err = gs_mtree_parse(text, &ranges, &count);

	for (size_t i = 0; i < count; i++) {
		// A name that leaves the text is what a sanitizer is to see.
		if (memchr(ranges[i].region, '\n', ranges[i].region_len))
			abort();
	}
	gs_error_destroy(err);
	free(ranges);
	free(text);
	return 0;
}
