// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/target.h>

#include <inttypes.h>
#include <string.h>

#include "target/ops.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

struct gs_target {
	const struct gs_target_ops *ops;
	void *self;
	char *spec;
	bool frozen;
	struct gs_segment *segments;
	size_t count;
};

static const struct scheme {
	const char *name;
	struct gs_error *(*open)(const char *rest, const struct gs_target_options *options,
				 struct gs_target **ret);
	bool frozen;
} schemes[] = {
	{ "qemu:", gs_qemu_open, false },
	{ "core:", gs_core_open, true },
	{ "host", gs_host_open, false },
};

const char *gs_target_layout(const struct gs_target_options *options)
{
	size_t end = offsetof(struct gs_target_options, layout) + sizeof(options->layout);

	return options && options->size >= end ? options->layout : NULL;
}

struct gs_error *gs_target_open(const char *spec, const struct gs_target_options *options,
				struct gs_target **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		const char *rest = spec;

		if (!gs_parse_skip(&rest, schemes[i].name))
			continue;

		_cleanup_free_ char *copy = strdup(spec);

		if (!copy)
			return &gs_enomem;

		struct gs_error *err = schemes[i].open(rest, options, ret);

		if (err)
			return gs_error_prefix(err, "%s", spec);
		(*ret)->spec = no_cleanup_ptr(copy);
		(*ret)->frozen = schemes[i].frozen;
		return NULL;
	}
	return gs_error_create(
		GS_ERROR_USAGE,
		"%s: not a target; give qemu:NAME, qemu:/path/to/qmp.sock, core:FILE or host",
		spec);
}

static uint64_t segment_pages(const struct gs_segment *segment)
{
	return segment->size >> GS_PAGE_SHIFT;
}

struct gs_error *gs_target_create(const struct gs_target_ops *ops, void *self,
				  struct gs_segment *segments, size_t count, struct gs_target **ret)
{
	struct gs_target *target = calloc(1, sizeof(*target));

	if (!target) {
		ops->close(self);
		free(segments);
		return &gs_enomem;
	}
	target->ops = ops;
	target->self = self;
	target->segments = segments;
	target->count = count;
	for (size_t i = 0; i < count; i++) {
		segments[i].present = gs_bitmap_create(segment_pages(&segments[i]));
		if (!segments[i].present) {
			gs_target_close(target);
			return &gs_enomem;
		}
	}
	*ret = target;
	return NULL;
}

void gs_target_close(struct gs_target *target)
{
	if (!target)
		return;
	target->ops->close(target->self);
	for (size_t i = 0; i < target->count; i++)
		gs_bitmap_destroy(target->segments[i].present, segment_pages(&target->segments[i]));
	free(target->segments);
	free(target->spec);
	free(target);
}

const char *gs_target_spec(const struct gs_target *target)
{
	return target->spec ? target->spec : "";
}

bool gs_target_frozen(const struct gs_target *target)
{
	return target->frozen;
}

bool gs_target_io_memory(const struct gs_target *target)
{
	return target->ops->io_memory;
}

bool gs_target_note(const struct gs_target *target, uint64_t *ret)
{
	*ret = target->ops->note ? target->ops->note(target->self) : 0;
	return *ret != 0;
}

const struct gs_segment *gs_target_segments(const struct gs_target *target, size_t *count_ret)
{
	*count_ret = target->count;
	return target->segments;
}

// Index of the first segment that ends behind phys; target->count if none does.
static size_t find_segment(const struct gs_target *target, uint64_t phys)
{
	size_t low = 0, high = target->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct gs_segment *segment = &target->segments[middle];

		if (segment->phys + segment->size <= phys)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool gs_target_fault(struct gs_target *target, size_t index, uint64_t page)
{
	if (index >= target->count || page >= segment_pages(&target->segments[index]))
		return false;

	uint64_t *present = target->segments[index].present;

	if (gs_bitmap_test(present, page))
		return true;
	if (!target->ops->fault(target->self, index, page))
		return false;
	gs_bitmap_set(present, page, page + 1);
	return true;
}

const void *gs_target_map(struct gs_target *target, uint64_t phys, uint64_t size)
{
	size_t index = find_segment(target, phys);

	if (index == target->count)
		return NULL;

	const struct gs_segment *segment = &target->segments[index];

	if (phys < segment->phys || size > segment->size - (phys - segment->phys))
		return NULL;

	uint64_t offset = phys - segment->phys;

	for (uint64_t page = offset >> GS_PAGE_SHIFT; page << GS_PAGE_SHIFT < offset + size;
	     page++) {
		if (!gs_target_fault(target, index, page))
			return NULL;
	}
	return segment->host + offset;
}

struct gs_error *gs_target_read(struct gs_target *target, uint64_t phys, void *buf, uint64_t size)
{
	uint8_t *out = buf;

	for (size_t index = find_segment(target, phys); size; index++) {
		const struct gs_segment *segment = &target->segments[index];

		if (index == target->count || phys < segment->phys)
			return gs_error_address(GS_ERROR_TARGET, phys,
						"no memory at physical address 0x%" PRIx64, phys);
		while (size && phys - segment->phys < segment->size) {
			uint64_t offset = phys - segment->phys;
			uint64_t chunk = GS_PAGE_SIZE - offset % GS_PAGE_SIZE;

			if (chunk > size)
				chunk = size;
			if (gs_target_fault(target, index, offset >> GS_PAGE_SHIFT))
				memcpy(out, segment->host + offset, chunk);
			else
				memset(out, 0, chunk);
			out += chunk;
			phys += chunk;
			size -= chunk;
		}
	}
	return NULL;
}

// The first page at or after page of a segment that is readable now; pages if there is none.
static uint64_t next_in_segment(struct gs_target *target, size_t index, uint64_t page)
{
	const struct gs_segment *segment = &target->segments[index];
	uint64_t pages = segment_pages(segment);

	while (page < pages) {
		uint64_t begin, end;

		if (gs_bitmap_test(segment->present, page))
			return page;
		if (!target->ops->next(target->self, index, page, pages, &begin, &end))
			break;
		if (target->ops->in_place)
			gs_bitmap_set(segment->present, begin, end);
		// A compressed page may turn out to be damaged only now: then go on behind it.
		if (gs_target_fault(target, index, begin))
			return begin;
		page = begin + 1;
	}
	return pages;
}

bool gs_target_next_present(struct gs_target *target, uint64_t phys, uint64_t *ret)
{
	uint64_t aligned;

	if (__builtin_add_overflow(phys, GS_PAGE_SIZE - 1, &aligned))
		return false;
	aligned &= ~(GS_PAGE_SIZE - 1);
	for (size_t index = find_segment(target, aligned); index < target->count; index++) {
		const struct gs_segment *segment = &target->segments[index];
		uint64_t page =
			aligned > segment->phys ? (aligned - segment->phys) >> GS_PAGE_SHIFT : 0;

		page = next_in_segment(target, index, page);
		if (page < segment_pages(segment)) {
			*ret = segment->phys + (page << GS_PAGE_SHIFT);
			return true;
		}
	}
	return false;
}

uint64_t gs_target_scan(struct gs_target *target)
{
	uint64_t total = 0;

	for (size_t index = 0; index < target->count; index++) {
		const struct gs_segment *segment = &target->segments[index];
		uint64_t pages = segment_pages(segment);
		uint64_t page = 0, begin, end;

		while (page < pages &&
		       target->ops->next(target->self, index, page, pages, &begin, &end)) {
			if (target->ops->in_place)
				gs_bitmap_set(segment->present, begin, end);
			total += end - begin;
			page = end;
		}
	}
	return total;
}
