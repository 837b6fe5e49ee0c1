// SPDX-License-Identifier: Apache-2.0
#include "target/filemem.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "target/devdax.h"
#include "target/lazy.h"
#include "target/ops.h"
#include "target/sigbus.h"
#include "util/array.h"
#include "util/cleanup.h"

// Bit 63 of a pagemap entry: present, bit 62: swapped (Documentation/admin-guide/mm/pagemap.rst).
#define PAGEMAP_HAS_CONTENTS (UINT64_C(3) << 62)

static void source_deinit(struct gs_source *source)
{
	if (source->map) {
		gs_sigbus_forget(source->map);
		munmap(source->map, source->map_size);
	}
	if (source->pagemap_fd >= 0)
		close(source->pagemap_fd);
	if (source->fd >= 0)
		close(source->fd);
	free(source->name);
}

void gs_filemem_destroy(struct gs_filemem *mem)
{
	if (!mem)
		return;
	for (size_t i = 0; i < mem->source_count; i++)
		source_deinit(&mem->sources[i]);
	free(mem->sources);
	gs_ranges_deinit(&mem->ranges);
	free(mem);
}

struct gs_error *gs_filemem_size(int fd, uint64_t *size_ret, uint64_t *device_align_ret)
{
	struct stat st;

	*device_align_ret = 0;
	if (fstat(fd, &st) < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno, "cannot stat");
	if (gs_devdax_size(&st, size_ret, device_align_ret))
		return NULL;

	off_t size = lseek(fd, 0, SEEK_END);

	if (size < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno, "cannot tell its size");
	*size_ret = (uint64_t)size;
	return NULL;
}

struct gs_error *gs_filemem_add_source(struct gs_filemem *mem, int fd_taken, const char *name,
				       uint32_t *ret)
{
	_cleanup_close_ int fd = fd_taken;
	uint64_t size, device_align;
	struct gs_error *err = gs_filemem_size(fd, &size, &device_align);

	if (err)
		return gs_error_prefix(err, "%s", name);

	struct statfs fs;
	uint64_t huge = 0;

	// hugetlbfs gives the size of its pages as block size (fs/hugetlbfs/inode.c, hugetlbfs_statfs).
	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		huge = fs.f_bsize;

	_cleanup_free_ char *copy = strdup(name);

	if (!copy)
		return &gs_enomem;

	struct gs_source source = {
		.fd = fd,
		.name = copy,
		.size = size,
		.pagemap_fd = -1,
		.huge = huge,
		.device_align = device_align,
	};

	if (!gs_array_push(mem->sources, mem->source_count, mem->source_capacity, source))
		return &gs_enomem;
	fd = -1;
	copy = NULL;
	*ret = mem->source_count - 1;
	return NULL;
}

// Map what the ranges use of a source, in one piece.
static struct gs_error *source_map(struct gs_source *source, uint64_t begin, uint64_t end)
{
	// A mapping of a hugetlbfs file starts and ends at huge pages.
	uint64_t unit = source->huge	       ? source->huge
			: source->device_align ? source->device_align
					       : GS_PAGE_SIZE;

	begin -= begin % unit;
	end += (unit - end % unit) % unit;

	void *map =
		mmap(NULL, end - begin, PROT_READ, MAP_SHARED | MAP_NORESERVE, source->fd, begin);

	if (map == MAP_FAILED)
		return gs_error_errno(GS_ERROR_TARGET, errno, "%s: cannot map %" PRIu64 " bytes",
				      source->name, end - begin);
	source->map = map;
	source->map_offset = begin;
	source->map_size = end - begin;
	gs_sigbus_remember(map, source->map_size, source->name);
	return NULL;
}

// hugetlbfs says "data" for holes, and reading one would allocate a huge page.
static struct gs_error *check_holes_known(const struct gs_source *source)
{
	if (!source->huge || source->pagemap_fd >= 0)
		return NULL;

	struct stat st;

	if (fstat(source->fd, &st) < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno, "%s", source->name);
	if ((uint64_t)st.st_blocks * 512 >= source->size)
		return NULL;
	return gs_error_create(
		GS_ERROR_TARGET,
		"%s: lies on hugetlbfs with holes that cannot be told from data; copy it "
		"to another file system first",
		source->name);
}

static struct gs_error *map_sources(struct gs_filemem *mem)
{
	struct gs_error *err;

	for (uint32_t s = 0; s < mem->source_count; s++) {
		uint64_t begin = UINT64_MAX, end = 0;

		for (size_t i = 0; i < mem->ranges.count; i++) {
			const struct gs_range *range = &mem->ranges.ranges[i];

			if (range->source != s)
				continue;
			if (range->offset < begin)
				begin = range->offset;
			if (range->offset + range->size > end)
				end = range->offset + range->size;
		}
		if (end == 0)
			continue;
		err = check_holes_known(&mem->sources[s]);
		if (!err)
			err = source_map(&mem->sources[s], begin, end);
		if (err)
			return err;
	}
	return NULL;
}

// The next bytes with contents at or after offset, up to the next hole.
static bool source_next_data(const struct gs_source *source, uint64_t offset, uint64_t *begin,
			     uint64_t *end)
{
	if (source->pagemap_fd >= 0) {
		for (uint64_t at = offset - offset % source->huge; at < source->size;
		     at += source->huge) {
			uint64_t entry;
			uint64_t page = (source->pagemap_address + at) / sysconf(_SC_PAGESIZE);

			// QEMU is gone or says nothing: what is not known to be data is a hole.
			if (pread(source->pagemap_fd, &entry, 8, page * 8) != 8)
				return false;
			if (entry & PAGEMAP_HAS_CONTENTS) {
				*begin = at > offset ? at : offset;
				*end = at + source->huge;
				return true;
			}
		}
		return false;
	}

	// A device answers SEEK_DATA with nonsense (noop_llseek() in drivers/dax/device.c).
	if (source->device_align) {
		*begin = offset;
		*end = source->size;
		return offset < source->size;
	}

	// The file position is shared between threads, but only the value returned is used, and it
	// depends on the arguments alone.
	off_t data = source->huge ? (off_t)offset : lseek(source->fd, offset, SEEK_DATA);

	if (data < 0 && errno == ENXIO)
		return false;
	// A file without notion of holes (a block device) is all data.
	if (data < 0)
		data = offset;

	off_t hole = source->huge ? -1 : lseek(source->fd, data, SEEK_HOLE);

	*begin = data;
	*end = hole < 0 ? source->size : (uint64_t)hole;
	return *end > *begin;
}

static bool filemem_next(void *self, size_t index, uint64_t page, uint64_t limit, uint64_t *begin,
			 uint64_t *end)
{
	const struct gs_filemem *mem = self;
	const struct gs_range *range = &mem->ranges.ranges[index];
	uint64_t data, hole;

	if (!source_next_data(&mem->sources[range->source], range->offset + (page << GS_PAGE_SHIFT),
			      &data, &hole))
		return false;

	// An ELF core need not hold pages at page-aligned offsets: a page with any data counts.
	*begin = (data - range->offset) >> GS_PAGE_SHIFT;
	*end = (hole - range->offset + GS_PAGE_SIZE - 1) >> GS_PAGE_SHIFT;
	if (*end > limit)
		*end = limit;
	return *begin < limit;
}

static bool filemem_fault(void *self, size_t index, uint64_t page)
{
	const struct gs_filemem *mem = self;
	const struct gs_range *range = &mem->ranges.ranges[index];
	const struct gs_source *source = &mem->sources[range->source];
	uint64_t offset = range->offset + (page << GS_PAGE_SHIFT);

	if (source->huge) {
		uint64_t begin, end;

		return filemem_next(self, index, page, page + 1, &begin, &end) && begin == page;
	}

	if (source->device_align)
		return offset < source->size;

	off_t data = lseek(source->fd, offset, SEEK_DATA);

	if (data < 0)
		return errno != ENXIO;
	return (uint64_t)data < offset + GS_PAGE_SIZE;
}

static void filemem_close(void *self)
{
	gs_filemem_destroy(self);
}

static const struct gs_target_ops filemem_ops = {
	.fault = filemem_fault,
	.next = filemem_next,
	.in_place = true,
	.close = filemem_close,
};

static struct gs_error *create_mapped(struct gs_filemem *mem_taken, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = mem_taken;
	struct gs_error *err = map_sources(mem);

	if (err)
		return err;

	struct gs_segment *segments = calloc(mem->ranges.count, sizeof(*segments));

	if (!segments)
		return &gs_enomem;
	for (size_t i = 0; i < mem->ranges.count; i++) {
		const struct gs_range *range = &mem->ranges.ranges[i];
		const struct gs_source *source = &mem->sources[range->source];

		segments[i].phys = range->phys;
		segments[i].size = range->size;
		segments[i].host = source->map + (range->offset - source->map_offset);
	}

	size_t count = mem->ranges.count;

	return gs_target_create(&filemem_ops, no_cleanup_ptr(mem), segments, count, ret);
}

static bool copy_fill(void *self, uint64_t phys, void *page)
{
	const struct gs_filemem *mem = self;
	size_t low = 0, high = mem->ranges.count;
	bool any = false;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct gs_range *range = &mem->ranges.ranges[middle];

		if (range->phys + range->size <= phys)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < mem->ranges.count && mem->ranges.ranges[low].phys < phys + GS_PAGE_SIZE;
	     low++) {
		const struct gs_range *range = &mem->ranges.ranges[low];
		uint64_t begin = range->phys > phys ? range->phys : phys;
		uint64_t end = range->phys + range->size;

		if (end > phys + GS_PAGE_SIZE)
			end = phys + GS_PAGE_SIZE;
		if (range->source == GS_SOURCE_NONE)
			continue;
		// pread() and no mapping: it allocates no hole and cannot raise SIGBUS.
		if (pread(mem->sources[range->source].fd, (char *)page + (begin - phys),
			  end - begin,
			  range->offset + (begin - range->phys)) != (ssize_t)(end - begin))
			return false;
		any = true;
	}
	return any;
}

static void copy_available(void *self, uint64_t phys, uint64_t pages, uint64_t *bitmap)
{
	const struct gs_filemem *mem = self;
	uint64_t end = phys + (pages << GS_PAGE_SHIFT);

	for (size_t i = 0; i < mem->ranges.count; i++) {
		const struct gs_range *range = &mem->ranges.ranges[i];

		if (range->source == GS_SOURCE_NONE || range->phys >= end ||
		    range->phys + range->size <= phys)
			continue;

		uint64_t from = range->phys > phys ? range->phys : phys;
		uint64_t to = range->phys + range->size < end ? range->phys + range->size : end;

		gs_bitmap_set(bitmap, (from - phys) >> GS_PAGE_SHIFT,
			      (to - phys + GS_PAGE_SIZE - 1) >> GS_PAGE_SHIFT);
	}
}

static const struct gs_lazy_ops copy_ops = {
	.fill = copy_fill,
	.available = copy_available,
	.close = filemem_close,
};

// Many pieces, or holes that the file leaves out: one segment for each stretch of physical memory.
static struct gs_error *create_copied(struct gs_filemem *mem_taken, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = mem_taken;
	struct gs_ranges stretches = {};
	struct gs_error *err = NULL;

	for (size_t i = 0; i < mem->ranges.count && !err; i++) {
		struct gs_range piece = mem->ranges.ranges[i];

		piece.source = GS_SOURCE_NONE;
		err = gs_ranges_add(&stretches, &piece);
	}
	if (!err)
		err = gs_ranges_normalize(&stretches);
	if (err) {
		gs_ranges_deinit(&stretches);
		return err;
	}
	gs_ranges_trim_to_pages(&stretches);
	return gs_lazy_create(&copy_ops, no_cleanup_ptr(mem), &stretches, ret);
}

struct gs_error *gs_filemem_create(struct gs_filemem *mem_taken, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = mem_taken;
	struct gs_error *err = gs_ranges_normalize(&mem->ranges);

	if (err)
		return err;

	bool copied = false;
	size_t whole = 0;

	for (size_t i = 0; i < mem->ranges.count; i++) {
		const struct gs_range *range = &mem->ranges.ranges[i];

		if (range->source == GS_SOURCE_NONE)
			copied = true;
		whole++;
	}
	if (copied || whole > GS_FILEMEM_SEGMENTS)
		return create_copied(no_cleanup_ptr(mem), ret);
	gs_ranges_trim_to_pages(&mem->ranges);
	if (mem->ranges.count == 0)
		return gs_error_create(GS_ERROR_TARGET, "holds no whole page of memory");
	return create_mapped(no_cleanup_ptr(mem), ret);
}
