// SPDX-License-Identifier: Apache-2.0
// Cores compressed by makedumpfile (its IMPLEMENTATION file and diskdump_mod.h give the format). Pages are
// decompressed when they are first read.
//
// Not through libkdumpfile: 0.5.1 overflows its buffer if the file gives a page more than 4096 bytes, and
// kdump_free() writes to memory that it has freed.
#include <inttypes.h>
#include <lzo/lzo1x.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "target/core.h"
#include "target/lazy.h"
#include "target/ops.h"
#include "util/cleanup.h"

// Each header begins at a block of its own.
#define BLOCK GS_PAGE_SIZE
// Two bitmaps of 64 TiB of memory.
#define BITMAP_BLOCKS_MAX (UINT64_C(2) << 19)
// One sum of bits for each this many words of the bitmap.
#define RANK_WORDS 64

struct disk_dump_header {
	char signature[8];
	int32_t version;
	// struct new_utsname: sysname, nodename, release, version, machine, domainname.
	char utsname[6][65];
	int64_t timestamp[2];
	uint32_t status;
	uint32_t block_size;
	// In blocks.
	uint32_t sub_hdr_size, bitmap_blocks;
	uint32_t max_mapnr;
	uint32_t total_ram_blocks, device_blocks, written_blocks, current_cpu, nr_cpus;
};

struct kdump_sub_header {
	uint64_t phys_base;
	uint32_t dump_level;
	// 1: this file is one of several that hold parts of a dump.
	uint32_t split;
};

// In page_desc.flags.
enum {
	DUMP_DH_COMPRESSED_ZLIB = 1,
	DUMP_DH_COMPRESSED_LZO = 2,
	DUMP_DH_COMPRESSED_SNAPPY = 4,
	DUMP_DH_COMPRESSED_ZSTD = 32,
};

struct page_desc {
	uint64_t offset;
	uint32_t size;
	// How it is compressed; 0: not at all.
	uint32_t flags;
	uint64_t page_flags;
};

struct kdump {
	struct gs_core core;
	// Where the table of descriptors begins.
	uint64_t descs;
	// Bits in each bitmap: which page frames the machine has, which of them the file has.
	uint64_t bits;
	uint64_t *machine, *file;
	// Set bits of `file` before each RANK_WORDS words.
	uint64_t *ranks;
};

static void kdump_close(void *self)
{
	struct kdump *kdump = self;

	if (kdump->core.fd >= 0)
		close(kdump->core.fd);
	free(kdump->machine);
	free(kdump->file);
	free(kdump->ranks);
	free(kdump);
}

static void cleanup_kdump(struct kdump **kdump)
{
	if (*kdump)
		kdump_close(*kdump);
}

// Position of the descriptor of pfn, whose bit in `file` is set.
static uint64_t desc_offset(const struct kdump *kdump, uint64_t pfn)
{
	uint64_t word = pfn / 64;
	uint64_t rank = kdump->ranks[word / RANK_WORDS];

	for (uint64_t i = word - word % RANK_WORDS; i < word; i++)
		rank += __builtin_popcountll(kdump->file[i]);
	rank += __builtin_popcountll(kdump->file[word] & ((UINT64_C(1) << (pfn % 64)) - 1));
	return kdump->descs + rank * sizeof(struct page_desc);
}

static struct gs_error *find_page(const struct kdump *kdump, uint64_t pfn, struct page_desc *ret)
{
	struct gs_error *err = gs_core_read(&kdump->core, desc_offset(kdump, pfn), ret,
					    sizeof(*ret), "the descriptor of a page");

	if (err)
		return err;
	// makedumpfile keeps a page as it is rather than let it grow.
	if (ret->size == 0 || ret->size > GS_PAGE_SIZE)
		return gs_error_address(GS_ERROR_TARGET, pfn << GS_PAGE_SHIFT,
					"damaged: the page at 0x%" PRIx64 " takes %u bytes",
					pfn << GS_PAGE_SHIFT, ret->size);
	return gs_core_check(&kdump->core, ret->offset, ret->size, "a page");
}

// True if it gives exactly a page.
static bool decompress(uint32_t flags, const uint8_t *in, size_t size, uint8_t *page)
{
	size_t len = GS_PAGE_SIZE;
	uLongf zlib_len = GS_PAGE_SIZE;
	lzo_uint lzo_len = GS_PAGE_SIZE;

	switch (flags) {
	case 0:
		memcpy(page, in, size);
		return size == GS_PAGE_SIZE;
	case DUMP_DH_COMPRESSED_ZLIB:
		return uncompress(page, &zlib_len, in, size) == Z_OK && zlib_len == GS_PAGE_SIZE;
	case DUMP_DH_COMPRESSED_LZO:
		return lzo1x_decompress_safe(in, size, page, &lzo_len, NULL) == LZO_E_OK &&
		       lzo_len == GS_PAGE_SIZE;
	case DUMP_DH_COMPRESSED_SNAPPY:
		return snappy_uncompress((const char *)in, size, (char *)page, &len) == SNAPPY_OK &&
		       len == GS_PAGE_SIZE;
	case DUMP_DH_COMPRESSED_ZSTD:
		return ZSTD_decompress(page, GS_PAGE_SIZE, in, size) == GS_PAGE_SIZE;
	default:
		return false;
	}
}

static bool kdump_fill(void *self, uint64_t phys, void *page)
{
	const struct kdump *kdump = self;
	struct page_desc desc;
	uint8_t in[GS_PAGE_SIZE];
	_cleanup_error_ struct gs_error *err = find_page(kdump, phys >> GS_PAGE_SHIFT, &desc);

	if (!err)
		err = gs_core_read(&kdump->core, desc.offset, in, desc.size, "a page");
	return !err && decompress(desc.flags, in, desc.size, page);
}

// The next run of set bits from *first on: bits *first to *last - 1.
static bool next_run(const uint64_t *bitmap, uint64_t limit, uint64_t *first, uint64_t *last)
{
	*first = gs_bitmap_find(bitmap, *first, limit, true);
	*last = gs_bitmap_find(bitmap, *first, limit, false);
	return *first < limit;
}

static void kdump_available(void *self, uint64_t phys, uint64_t pages, uint64_t *bitmap)
{
	struct kdump *kdump = self;
	uint64_t base = phys >> GS_PAGE_SHIFT;

	for (uint64_t first = base, last; next_run(kdump->file, base + pages, &first, &last);
	     first = last)
		gs_bitmap_set(bitmap, first - base, last - base);
}

static const struct gs_lazy_ops kdump_ops = {
	.fill = kdump_fill,
	.available = kdump_available,
	.close = kdump_close,
};

static struct gs_error *check_header(const struct disk_dump_header *header)
{
	if (strncmp(header->utsname[4], "x86_64", sizeof(header->utsname[4])) != 0)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is of a machine of type \"%.64s\"; only x86_64 is understood",
			header->utsname[4]);
	if (header->block_size != BLOCK)
		return gs_error_create(GS_ERROR_TARGET, "damaged: blocks of %u bytes, not 4096",
				       header->block_size);
	if (header->sub_hdr_size == 0 || header->bitmap_blocks < 2 || header->bitmap_blocks % 2 ||
	    header->bitmap_blocks > BITMAP_BLOCKS_MAX)
		return gs_error_create(GS_ERROR_TARGET,
				       "damaged: a header of %u and bitmaps of %u blocks",
				       header->sub_hdr_size, header->bitmap_blocks);
	return NULL;
}

// Both bitmaps are as long; the machine's comes first.
static struct gs_error *read_bitmaps(struct kdump *kdump, const struct disk_dump_header *header)
{
	uint64_t offset = (1 + (uint64_t)header->sub_hdr_size) * BLOCK;
	uint64_t size = header->bitmap_blocks / 2 * BLOCK;
	uint64_t words = size / sizeof(uint64_t);
	struct gs_error *err = gs_core_check(&kdump->core, offset, 2 * size, "the bitmaps");

	if (err)
		return err;
	kdump->bits = words * 64;
	kdump->descs = offset + 2 * size;
	kdump->machine = malloc(size);
	kdump->file = malloc(size);
	kdump->ranks = calloc(words / RANK_WORDS, sizeof(uint64_t));
	if (!kdump->machine || !kdump->file || !kdump->ranks)
		return &gs_enomem;
	err = gs_core_read(&kdump->core, offset, kdump->machine, size, "the bitmaps");
	if (!err)
		err = gs_core_read(&kdump->core, offset + size, kdump->file, size, "the bitmaps");
	if (err)
		return err;

	uint64_t rank = 0;

	for (uint64_t i = 0; i < words; i++) {
		if (i % RANK_WORDS == 0)
			kdump->ranks[i / RANK_WORDS] = rank;
		rank += __builtin_popcountll(kdump->file[i]);
		// A page that the file has and the machine has not is nowhere to be put.
		kdump->machine[i] |= kdump->file[i];
	}
	return NULL;
}

static struct gs_error *read_ranges(struct kdump *kdump, struct gs_ranges *ranges)
{
	for (uint64_t first = 0, last; next_run(kdump->machine, kdump->bits, &first, &last);
	     first = last) {
		struct gs_error *err =
			gs_ranges_add(ranges, &(struct gs_range){
						      .phys = first << GS_PAGE_SHIFT,
						      .size = (last - first) << GS_PAGE_SHIFT,
						      .source = GS_SOURCE_NONE,
					      });

		if (err)
			return err;
	}
	return NULL;
}

// The file does not tell its length; pages are written in order, so the last one tells.
static struct gs_error *check_last_page(const struct kdump *kdump)
{
	uint64_t last_page = UINT64_MAX;
	struct page_desc desc;

	for (uint64_t first = 0, last; next_run(kdump->file, kdump->bits, &first, &last);
	     first = last)
		last_page = last - 1;
	if (last_page == UINT64_MAX)
		return gs_error_create(GS_ERROR_TARGET, "holds no page");
	return find_page(kdump, last_page, &desc);
}

static struct gs_error *read_headers(struct kdump *kdump, struct gs_ranges *ranges)
{
	struct disk_dump_header header;
	struct kdump_sub_header sub;
	struct gs_error *err = gs_core_read(&kdump->core, 0, &header, sizeof(header), "its header");

	if (!err)
		err = check_header(&header);
	if (!err)
		err = gs_core_read(&kdump->core, BLOCK, &sub, sizeof(sub), "its second header");
	if (!err && sub.split)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is one part of a split dump; join the parts with makedumpfile "
			"--reassemble");
	if (!err)
		err = read_bitmaps(kdump, &header);
	if (!err)
		err = read_ranges(kdump, ranges);
	if (!err)
		err = check_last_page(kdump);
	return err;
}

struct gs_error *gs_kdump_open(struct gs_core *core, struct gs_target **ret)
{
	_cleanup_(gs_ranges_deinit) struct gs_ranges ranges = {};
	_cleanup_(cleanup_kdump) struct kdump *kdump = calloc(1, sizeof(*kdump));

	if (!kdump)
		return &gs_enomem;
	kdump->core = *core;
	core->fd = -1;

	struct gs_error *err = read_headers(kdump, &ranges);

	if (err)
		return err;
	// The caller's path does not live as long as the target.
	kdump->core.path = NULL;
	return gs_lazy_create(&kdump_ops, no_cleanup_ptr(kdump), &ranges, ret);
}
