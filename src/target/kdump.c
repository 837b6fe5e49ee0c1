// SPDX-License-Identifier: Apache-2.0
// Cores compressed by makedumpfile, by libkdumpfile. Pages are decompressed when they are first read.
#include <inttypes.h>
#include <libkdumpfile/kdumpfile.h>
#include <stdlib.h>
#include <string.h>

#include "target/core.h"
#include "target/lazy.h"
#include "target/ops.h"
#include "util/cleanup.h"

struct kdump {
	kdump_ctx_t *ctx;
	// Pages that the file has.
	kdump_bmp_t *pagemap;
	int fd;
};

static void kdump_close(void *self)
{
	struct kdump *kdump = self;

	if (kdump->pagemap)
		kdump_bmp_decref(kdump->pagemap);
	if (kdump->ctx)
		kdump_free(kdump->ctx);
	if (kdump->fd >= 0)
		close(kdump->fd);
	free(kdump);
}

static void cleanup_kdump(struct kdump **kdump)
{
	if (*kdump)
		kdump_close(*kdump);
}

static bool kdump_fill(void *self, uint64_t phys, void *page)
{
	struct kdump *kdump = self;
	size_t size = GS_PAGE_SIZE;

	// The machine's physical addresses are what the file is indexed by: no translation is set up.
	return kdump_read(kdump->ctx, KDUMP_MACHPHYSADDR, phys, page, &size) == KDUMP_OK &&
	       size == GS_PAGE_SIZE;
}

// The next run of set bits from *first on: bits *first to *last - 1.
static bool next_run(kdump_bmp_t *bmp, uint64_t *first, uint64_t *last)
{
	kdump_addr_t begin = *first, end;

	if (kdump_bmp_find_set(bmp, &begin) != KDUMP_OK || begin < *first)
		return false;
	end = begin;
	if (kdump_bmp_find_clear(bmp, &end) != KDUMP_OK || end <= begin)
		return false;
	*first = begin;
	*last = end;
	return true;
}

static void kdump_available(void *self, uint64_t phys, uint64_t pages, uint64_t *bitmap)
{
	struct kdump *kdump = self;
	uint64_t base = phys >> GS_PAGE_SHIFT;
	uint64_t first = base, last;

	while (next_run(kdump->pagemap, &first, &last) && first < base + pages) {
		if (last > base + pages)
			last = base + pages;
		gs_bitmap_set(bitmap, first - base, last - base);
		first = last;
	}
}

static const struct gs_lazy_ops kdump_ops = {
	.fill = kdump_fill,
	.available = kdump_available,
	.close = kdump_close,
};

static struct gs_error *kdump_error(struct kdump *kdump, const char *what)
{
	const char *why = kdump_get_err(kdump->ctx);

	return gs_error_create(GS_ERROR_TARGET, "%s: %s", what, why ? why : "libkdumpfile says no more");
}

// Begin of the header: makedumpfile's diskdump_mod.h, struct disk_dump_header.
struct disk_dump_header {
	char signature[8];
	int32_t version;
	// struct new_utsname: sysname, nodename, release, version, machine, domainname.
	char utsname[6][65];
};

static struct gs_error *check_header(const struct gs_core *core)
{
	struct disk_dump_header header;
	struct gs_error *err = gs_core_read(core, 0, &header, sizeof(header), "its header");

	if (err)
		return err;
	if (strncmp(header.utsname[4], "x86_64", sizeof(header.utsname[4])) != 0)
		return gs_error_create(GS_ERROR_TARGET,
				       "is of a machine of type \"%.64s\"; only x86_64 is understood",
				       header.utsname[4]);
	return NULL;
}

static struct gs_error *check_machine(struct kdump *kdump)
{
	const char *arch;
	kdump_num_t page_size;

	// libkdumpfile takes the machine from the header only beside a sysname of "Linux", which QEMU
	// leaves empty. The header's machine was checked.
	if (kdump_get_string_attr(kdump->ctx, KDUMP_ATTR_ARCH_NAME, &arch) != KDUMP_OK &&
	    kdump_set_string_attr(kdump->ctx, KDUMP_ATTR_ARCH_NAME, KDUMP_ARCH_X86_64) != KDUMP_OK)
		return kdump_error(kdump, "libkdumpfile");
	if (kdump_get_number_attr(kdump->ctx, KDUMP_ATTR_PAGE_SIZE, &page_size) != KDUMP_OK)
		return kdump_error(kdump, "does not tell its page size");
	if (page_size != GS_PAGE_SIZE)
		return gs_error_create(GS_ERROR_TARGET, "damaged: pages of %" PRIu64 " bytes, not 4096",
				       (uint64_t)page_size);
	return NULL;
}

static struct gs_error *add_ranges(struct kdump *kdump, kdump_bmp_t *memory,
				   struct gs_ranges *ranges, uint64_t *last_ret)
{
	uint64_t first = 0, last;

	while (next_run(memory, &first, &last)) {
		if (last > GS_PHYS_MAX >> GS_PAGE_SHIFT)
			return gs_error_create(GS_ERROR_TARGET,
					       "damaged: memory beyond 52 bits of physical address");

		struct gs_error *err = gs_ranges_add(ranges, &(struct gs_range){
								     .phys = first << GS_PAGE_SHIFT,
								     .size = (last - first)
									     << GS_PAGE_SHIFT,
								     .source = GS_SOURCE_NONE,
							     });

		if (err)
			return err;
		first = last;
	}

	bool any = false;

	first = 0;
	while (next_run(kdump->pagemap, &first, &last)) {
		*last_ret = last - 1;
		any = true;
		first = last;
	}
	if (!any)
		return gs_error_create(GS_ERROR_TARGET, "holds no page");
	return gs_ranges_normalize(ranges);
}

// Which pages there are: memory.pagemap has those of the machine, file.pagemap those of the file.
static struct gs_error *read_pagemaps(struct kdump *kdump, struct gs_ranges *ranges)
{
	kdump_attr_t file, memory;
	uint64_t last_page;

	file.type = memory.type = KDUMP_BITMAP;
	if (kdump_get_typed_attr(kdump->ctx, KDUMP_ATTR_FILE_PAGEMAP, &file) != KDUMP_OK)
		return kdump_error(kdump, "does not tell which pages it has");
	// What kdump_get_typed_attr() gives is not ours: the context may drop it.
	kdump_bmp_incref(file.val.bitmap);
	kdump->pagemap = file.val.bitmap;
	if (kdump_get_typed_attr(kdump->ctx, KDUMP_ATTR_MEMORY_PAGEMAP, &memory) != KDUMP_OK)
		return kdump_error(kdump, "does not tell which pages the machine has");

	struct gs_error *err = add_ranges(kdump, memory.val.bitmap, ranges, &last_page);

	if (err)
		return err;

	// The file does not tell its length; pages are written in order, so the last one tells.
	uint8_t page[GS_PAGE_SIZE];

	if (!kdump_fill(kdump, last_page << GS_PAGE_SHIFT, page))
		return kdump_error(kdump, "truncated or damaged: its last page cannot be read");
	return NULL;
}

struct gs_error *gs_kdump_open(struct gs_core *core, struct gs_target **ret)
{
	_cleanup_(gs_ranges_deinit) struct gs_ranges ranges = {};
	_cleanup_(cleanup_kdump) struct kdump *kdump = calloc(1, sizeof(*kdump));

	if (!kdump)
		return &gs_enomem;
	kdump->fd = -1;

	struct gs_error *err = check_header(core);

	if (err)
		return err;
	kdump->fd = no_cleanup_fd(core->fd);
	kdump->ctx = kdump_new();
	if (!kdump->ctx)
		return &gs_enomem;
	// Read and do not map: the file may shrink.
	if (kdump_set_number_attr(kdump->ctx, KDUMP_ATTR_FILE_MMAP_POLICY, KDUMP_MMAP_NEVER) !=
	    KDUMP_OK)
		return kdump_error(kdump, "libkdumpfile");
	if (kdump_open_fd(kdump->ctx, kdump->fd) != KDUMP_OK)
		return kdump_error(kdump, "cannot be read as a compressed core");

	err = check_machine(kdump);
	if (!err)
		err = read_pagemaps(kdump, &ranges);
	if (err)
		return err;
	return gs_lazy_create(&kdump_ops, no_cleanup_ptr(kdump), &ranges, ret);
}
