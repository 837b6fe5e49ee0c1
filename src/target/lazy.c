// SPDX-License-Identifier: Apache-2.0
#include "target/lazy.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "target/ops.h"
#include "util/cleanup.h"

// More than any x86-64 machine has; a layout beyond it is damaged, and would cost page tables.
#define LAZY_BYTES_MAX (UINT64_C(64) << 40)

struct lazy_segment {
	uint64_t phys, pages;
	uint8_t *memory;
	// Pages that fill() can make. A page that proved damaged loses its bit.
	uint64_t *available;
	// Pages that fill() has made, so that two threads do not write one.
	uint64_t *filled;
};

struct lazy {
	const struct gs_lazy_ops *ops;
	void *self;
	pthread_mutex_t lock;
	struct lazy_segment *segments;
	size_t count;
};

static void lazy_close(void *self)
{
	struct lazy *lazy = self;

	lazy->ops->close(lazy->self);
	for (size_t i = 0; i < lazy->count; i++) {
		struct lazy_segment *segment = &lazy->segments[i];

		gs_bitmap_destroy(segment->available, segment->pages);
		gs_bitmap_destroy(segment->filled, segment->pages);
		if (segment->memory)
			munmap(segment->memory, segment->pages << GS_PAGE_SHIFT);
	}
	free(lazy->segments);
	pthread_mutex_destroy(&lazy->lock);
	free(lazy);
}

static void cleanup_lazy(struct lazy **lazy)
{
	if (*lazy)
		lazy_close(*lazy);
}

static bool lazy_fault(void *self, size_t index, uint64_t page)
{
	struct lazy *lazy = self;
	struct lazy_segment *segment = &lazy->segments[index];

	if (!gs_bitmap_test(segment->available, page))
		return false;

	uint8_t *memory = segment->memory + (page << GS_PAGE_SHIFT);
	bool ok;

	pthread_mutex_lock(&lazy->lock);
	ok = gs_bitmap_test(segment->filled, page) ||
	     lazy->ops->fill(lazy->self, segment->phys + (page << GS_PAGE_SHIFT), memory);
	if (ok) {
		gs_bitmap_set(segment->filled, page, page + 1);
	} else {
		// Half a damaged page is no page.
		memset(memory, 0, GS_PAGE_SIZE);
		__atomic_fetch_and(&segment->available[page / 64], ~(UINT64_C(1) << (page % 64)),
				   __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&lazy->lock);
	return ok;
}

static bool lazy_next(void *self, size_t index, uint64_t page, uint64_t limit, uint64_t *begin,
		      uint64_t *end)
{
	const struct lazy *lazy = self;
	const uint64_t *available = lazy->segments[index].available;

	*begin = gs_bitmap_find(available, page, limit, true);
	*end = gs_bitmap_find(available, *begin, limit, false);
	return *begin < limit;
}

static const struct gs_target_ops lazy_target_ops = {
	.fault = lazy_fault,
	.next = lazy_next,
	.in_place = false,
	.close = lazy_close,
};

static struct gs_error *init_segment(struct lazy *lazy, const struct gs_range *range)
{
	struct lazy_segment *segment = &lazy->segments[lazy->count];

	segment->phys = range->phys;
	segment->pages = range->size >> GS_PAGE_SHIFT;

	void *memory = mmap(NULL, range->size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return gs_error_address(GS_ERROR_TARGET, range->phys,
					"no address space for %" PRIu64
					" bytes of memory at physical address 0x%" PRIx64,
					range->size, range->phys);
	segment->memory = memory;
	lazy->count++;
	segment->available = gs_bitmap_create(segment->pages);
	segment->filled = gs_bitmap_create(segment->pages);
	if (!segment->available || !segment->filled)
		return &gs_enomem;
	lazy->ops->available(lazy->self, segment->phys, segment->pages, segment->available);
	return NULL;
}

static struct gs_error *init_segments(struct lazy *lazy, const struct gs_ranges *ranges)
{
	uint64_t total = 0;

	for (size_t i = 0; i < ranges->count; i++) {
		const struct gs_range *range = &ranges->ranges[i];

		total += range->size;
		if (total > LAZY_BYTES_MAX)
			return gs_error_address(
				GS_ERROR_TARGET, range->phys,
				"says that it holds more than 64 TiB of memory; it is "
				"damaged");

		struct gs_error *err = init_segment(lazy, range);

		if (err)
			return err;
	}
	return NULL;
}

struct gs_error *gs_lazy_create(const struct gs_lazy_ops *ops, void *self, struct gs_ranges *ranges,
				struct gs_target **ret)
{
	_cleanup_(gs_ranges_deinit) struct gs_ranges taken = *ranges;

	*ranges = (struct gs_ranges){};

	_cleanup_(cleanup_lazy) struct lazy *lazy = calloc(1, sizeof(*lazy));

	if (!lazy) {
		ops->close(self);
		return &gs_enomem;
	}
	lazy->ops = ops;
	lazy->self = self;
	pthread_mutex_init(&lazy->lock, NULL);
	if (taken.count == 0)
		return gs_error_create(GS_ERROR_TARGET, "holds no whole page of memory");
	lazy->segments = calloc(taken.count, sizeof(*lazy->segments));
	if (!lazy->segments)
		return &gs_enomem;

	struct gs_error *err = init_segments(lazy, &taken);

	if (err)
		return err;

	struct gs_segment *segments = calloc(taken.count, sizeof(*segments));

	if (!segments)
		return &gs_enomem;
	for (size_t i = 0; i < taken.count; i++) {
		segments[i].phys = taken.ranges[i].phys;
		segments[i].size = taken.ranges[i].size;
		segments[i].host = lazy->segments[i].memory;
	}
	return gs_target_create(&lazy_target_ops, no_cleanup_ptr(lazy), segments, taken.count, ret);
}
