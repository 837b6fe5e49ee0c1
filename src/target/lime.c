// SPDX-License-Identifier: Apache-2.0
// LiME: a header before each range of memory (LiME's src/lime.h, lime_mem_range_header).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "target/core.h"
#include "target/filemem.h"
#include "util/cleanup.h"

#define LIME_MAGIC 0x4c694d45
#define LIME_VERSION 1

struct lime_header {
	uint32_t magic;
	uint32_t version;
	// Physical address of the first and of the last byte.
	uint64_t first, last;
	uint8_t reserved[8];
};

static struct gs_error *check_header(const struct lime_header *header, uint64_t offset)
{
	if (header->magic != LIME_MAGIC)
		return gs_error_create(
			GS_ERROR_TARGET,
			"damaged: no LiME header where the next range begins (byte %" PRIu64
			" of the file)",
			offset);
	if (header->version != LIME_VERSION)
		return gs_error_create(GS_ERROR_TARGET,
				       "is LiME version %u; only version %d is understood",
				       header->version, LIME_VERSION);
	if (header->last < header->first || header->last >= GS_PHYS_MAX)
		return gs_error_create(GS_ERROR_TARGET,
				       "damaged: LiME range from 0x%" PRIx64 " to 0x%" PRIx64,
				       header->first, header->last);
	return NULL;
}

struct gs_error *gs_lime_open(struct gs_core *core, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return &gs_enomem;
	for (uint64_t offset = 0; offset < core->size;) {
		struct lime_header header;
		char what[96];
		struct gs_error *err =
			gs_core_read(core, offset, &header, sizeof(header), "a LiME header");

		if (!err)
			err = check_header(&header, offset);
		if (err)
			return err;
		offset += sizeof(header);

		uint64_t size = header.last - header.first + 1;

		snprintf(what, sizeof(what), "the range at physical address 0x%" PRIx64,
			 header.first);
		err = gs_core_check(core, offset, size, what);
		if (!err)
			err = gs_ranges_add(&mem->ranges, &(struct gs_range){
								  .phys = header.first,
								  .size = size,
								  .offset = offset,
							  });
		if (err)
			return err;
		offset += size;
	}
	return gs_core_create(core, no_cleanup_ptr(mem), ret);
}
