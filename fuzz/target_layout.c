// SPDX-License-Identifier: Apache-2.0
// --layout of raw images: any string, with a file of 64 KiB.
#include <stdlib.h>

#include <gpusentinel/target.h>

#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	FILE_SIZE = 1 << 16,
};

// Sorted, without overlap, within the file.
static void check(struct gs_target *target)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);
	uint64_t end = 0;

	if (!count)
		abort();
	for (size_t i = 0; i < count; i++) {
		const struct gs_segment *segment = &segments[i];
		uint64_t phys;

		if (!segment->size || segment->size > FILE_SIZE || segment->phys < end)
			abort();
		end = segment->phys + segment->size;
		if (gs_target_next_present(target, segment->phys, &phys) && phys < end) {
			const volatile uint8_t *page = gs_target_map(target, phys, GS_PAGE_SIZE);

			if (!page)
				abort();
			(void)page[GS_PAGE_SIZE - 1];
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char spec[MEMORY_FILE_PATH + 8];
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_target *target;

	if (!*spec) {
		char path[MEMORY_FILE_PATH];
		uint8_t *zeroes = calloc(1, FILE_SIZE);

		if (!zeroes || memory_file(zeroes, FILE_SIZE, path) < 0)
			abort();
		free(zeroes);
		snprintf(spec, sizeof(spec), "core:%s", path);
	}

	char *layout = malloc(size + 1);

	if (!layout)
		return 0;
	for (size_t i = 0; i < size; i++)
		layout[i] = data[i];
	layout[size] = '\0';
	options.layout = layout;

	struct gs_error *err = gs_target_open(spec, &options, &target);

	if (!err) {
		check(target);
		gs_target_close(target);
	}
	gs_error_destroy(err);
	free(layout);
	return 0;
}
