// SPDX-License-Identifier: Apache-2.0
// Raw images: bytes of memory and nothing else, so the layout comes from whoever made it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/core.h"
#include "target/filemem.h"
#include "util/cleanup.h"
#include "util/parse.h"

static struct gs_error *bad_layout(const char *layout, const char *at, const char *why)
{
	return gs_error_create(
		GS_ERROR_USAGE,
		"layout \"%s\": %s at \"%s\"; it is PHYS:SIZE[@OFFSET][,...] in bytes, for "
		"example 0:2G,4G:2G@2G",
		layout, why, at);
}

// One "PHYS:SIZE[@OFFSET]"; range->offset holds where the last one ended.
static struct gs_error *parse_range(const char *layout, const char **text, struct gs_range *range)
{
	const char *at = *text;
	uint64_t end;

	if (!gs_parse_size(text, &range->phys))
		return bad_layout(layout, at, "no physical address");
	if (!gs_parse_skip(text, ":") || !gs_parse_size(text, &range->size))
		return bad_layout(layout, at, "no size");
	if (gs_parse_skip(text, "@") && !gs_parse_size(text, &range->offset))
		return bad_layout(layout, at, "no offset");
	if (**text && **text != ',')
		return bad_layout(layout, at, "too much");
	if (range->size == 0)
		return bad_layout(layout, at, "size zero");
	if (range->phys % GS_PAGE_SIZE || range->size % GS_PAGE_SIZE)
		return bad_layout(layout, at, "address or size not a multiple of 4096");
	if (__builtin_add_overflow(range->phys, range->size, &end) || end > GS_PHYS_MAX)
		return bad_layout(layout, at, "beyond 52 bits of physical address");
	return NULL;
}

static struct gs_error *check_overlap(const char *layout, const struct gs_ranges *ranges)
{
	for (size_t i = 1; i < ranges->count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct gs_range *a = &ranges->ranges[i], *b = &ranges->ranges[j];

			if (a->phys < b->phys + b->size && b->phys < a->phys + a->size)
				return gs_error_create(GS_ERROR_USAGE,
						       "layout \"%s\": physical address 0x%" PRIx64
						       " is there twice",
						       layout,
						       a->phys > b->phys ? a->phys : b->phys);
		}
	}
	return NULL;
}

struct gs_error *gs_raw_open(struct gs_core *core, const char *layout, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = calloc(1, sizeof(*mem));
	struct gs_range range = {};
	const char *text = layout;

	if (!mem)
		return &gs_enomem;
	do {
		char what[96];
		struct gs_error *err = parse_range(layout, &text, &range);

		if (err)
			return err;
		snprintf(what, sizeof(what), "the range at physical address 0x%" PRIx64,
			 range.phys);
		err = gs_core_check(core, range.offset, range.size, what);
		if (!err)
			err = gs_ranges_add(&mem->ranges, &range);
		if (err)
			return err;
		range.offset += range.size;
		// The check of overlaps is quadratic.
		if (mem->ranges.count > GS_FILEMEM_SEGMENTS)
			return bad_layout(layout, text, "too many ranges");
	} while (gs_parse_skip(&text, ","));

	struct gs_error *err = check_overlap(layout, &mem->ranges);

	if (err)
		return err;
	return gs_core_create(core, no_cleanup_ptr(mem), ret);
}
