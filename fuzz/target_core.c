// SPDX-License-Identifier: Apache-2.0
// core: files of every format. The first byte chooses: with or without a layout.
#include <stdlib.h>

#include <gpusentinel/target.h>

#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Walk over it as the layers above do, but not for long: a core may claim terabytes.
static void walk(struct gs_target *target)
{
	uint64_t phys = 0, total = 0, buf[64];
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	for (size_t i = 0; i < count; i++) {
		if (segments[i].size == 0 || segments[i].phys % GS_PAGE_SIZE ||
		    segments[i].size % GS_PAGE_SIZE ||
		    (i && segments[i - 1].phys + segments[i - 1].size > segments[i].phys))
			abort();
		total += segments[i].size;
	}
	for (int i = 0; i < 64 && gs_target_next_present(target, phys, &phys); i++) {
		const volatile uint8_t *page = gs_target_map(target, phys, GS_PAGE_SIZE);

		if (!page)
			abort();
		for (size_t at = 0; at < GS_PAGE_SIZE; at += 64)
			(void)page[at];
		gs_error_destroy(gs_target_read(target, phys + GS_PAGE_SIZE - 8, buf, sizeof(buf)));
		phys += GS_PAGE_SIZE;
	}
	if (total < UINT64_C(1) << 32)
		gs_target_scan(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_target *target;
	char path[MEMORY_FILE_PATH], spec[MEMORY_FILE_PATH + 8];

	if (size < 1)
		return 0;
	if (data[0] & 1)
		options.layout = "0:4K,1M:8K";

	int fd = memory_file(data + 1, size - 1, path);

	if (fd < 0)
		return 0;
	snprintf(spec, sizeof(spec), "core:%s", path);

	struct gs_error *err = gs_target_open(spec, &options, &target);

	if (!err) {
		walk(target);
		gs_target_close(target);
	}
	gs_error_destroy(err);
	close(fd);
	return 0;
}
