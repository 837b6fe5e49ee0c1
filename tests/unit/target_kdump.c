// SPDX-License-Identifier: Apache-2.0
// Cores as makedumpfile writes them: compressed (makedumpfile's IMPLEMENTATION, diskdump_mod.h), and the
// flattened format around them.
#include "target_support.h"

#include <endian.h>

struct disk_dump_header {
	char signature[8];
	int32_t version;
	char utsname[6][65];
	int64_t timestamp[2];
	uint32_t status, block_size, sub_hdr_size, bitmap_blocks, max_mapnr;
	uint32_t total_ram_blocks, device_blocks, written_blocks, current_cpu, nr_cpus;
};

struct kdump_sub_header {
	uint64_t phys_base;
	uint32_t dump_level, split;
	uint64_t start_pfn, end_pfn, offset_vmcoreinfo, size_vmcoreinfo, offset_note, size_note;
	uint64_t offset_eraseinfo, size_eraseinfo, start_pfn_64, end_pfn_64, max_mapnr_64;
};

struct page_desc {
	uint64_t offset;
	uint32_t size, flags;
	uint64_t page_flags;
};

enum {
	// Page frames of the machine: 0 to 63 without 10 to 19; of the file: those that divide by 3.
	PAGES = 64,
	DESCS = 4 * 4096,
	DATA = 5 * 4096,
	DUMP_DH_COMPRESSED_ZLIB = 1,
};

static bool in_machine(uint64_t pfn)
{
	return pfn < 10 || pfn >= 20;
}

static bool in_file(uint64_t pfn)
{
	return in_machine(pfn) && pfn % 3 == 0;
}

static struct disk_dump_header kdump_header(void)
{
	return (struct disk_dump_header){
		.signature = "KDUMP   ",
		.version = 6,
		.utsname = { "Linux", "host", "6.1.0", "#1", "x86_64", "" },
		.block_size = 4096,
		.sub_hdr_size = 1,
		.bitmap_blocks = 2,
		.max_mapnr = PAGES,
		.nr_cpus = 1,
	};
}

static uint32_t adler32(const uint8_t *bytes, size_t size)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < size; i++) {
		a = (a + bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

// A zlib stream (RFC 1950, RFC 1951) made by hand, so that the test needs no zlib: the byte pfn and 4095
// zeroes. Fixed Huffman codes: the literals pfn and 0, then 15 copies of 258 and one of 224 bytes from
// distance 1, bit by bit.
struct bits {
	uint8_t *out;
	size_t count;
};

static void put_bits(struct bits *bits, uint32_t value, int n, bool msb_first)
{
	for (int i = 0; i < n; i++, bits->count++) {
		uint32_t bit = value >> (msb_first ? n - 1 - i : i) & 1;

		bits->out[bits->count / 8] |= bit << (bits->count % 8);
	}
}

static size_t zlib_page(uint8_t *out, uint8_t pfn)
{
	uint8_t page[4096] = { pfn };
	struct bits bits = { .out = out };

	memset(out, 0, 256);
	put_bits(&bits, 0x0178, 16, false);
	// Last block, fixed codes; literals below 144 have 8 bits from 0x30 on.
	put_bits(&bits, 3, 3, false);
	put_bits(&bits, 0x30 + pfn, 8, true);
	put_bits(&bits, 0x30, 8, true);
	for (int i = 0; i < 15; i++) {
		// Length 258 is code 285; distance 1 is code 0.
		put_bits(&bits, 0xc0 + 285 - 280, 8, true);
		put_bits(&bits, 0, 5, true);
	}
	// Length 224 is code 283, which starts at 195, with 5 extra bits.
	put_bits(&bits, 0xc0 + 283 - 280, 8, true);
	put_bits(&bits, 224 - 195, 5, false);
	put_bits(&bits, 0, 5, true);
	put_bits(&bits, 0, 7, true);

	size_t size = (bits.count + 7) / 8;
	const uint32_t adler = htobe32(adler32(page, sizeof(page)));

	memcpy(out + size, &adler, sizeof(adler));
	return size + sizeof(adler);
}

static void write_kdump(struct image *image)
{
	struct disk_dump_header header = kdump_header();
	struct kdump_sub_header sub = { .max_mapnr_64 = PAGES };
	uint8_t memory[PAGES / 8] = {}, file[PAGES / 8] = {};
	uint64_t desc = DESCS, data = DATA;

	image_write(image, 0, &header, sizeof(header));
	image_write(image, PAGE, &sub, sizeof(sub));
	for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
		struct page_desc page = { .offset = data, .size = PAGE };
		uint8_t bytes[4096] = { pfn };

		memory[pfn / 8] |= in_machine(pfn) << (pfn % 8);
		file[pfn / 8] |= in_file(pfn) << (pfn % 8);
		if (!in_file(pfn))
			continue;
		if (pfn % 2) {
			page.flags = DUMP_DH_COMPRESSED_ZLIB;
			page.size = zlib_page(bytes, pfn);
		}
		image_write(image, desc, &page, sizeof(page));
		image_write(image, data, bytes, page.size);
		desc += sizeof(page);
		data += page.size;
	}
	image_write(image, 2 * PAGE, memory, sizeof(memory));
	image_write(image, 3 * PAGE, file, sizeof(file));
}

static void assert_pages(struct gs_target *target)
{
	uint64_t expected = 0, phys = 0;

	for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
		if (!in_machine(pfn)) {
			assert_no_memory(target, pfn * PAGE);
			continue;
		}
		assert_int_equal(read_u64(target, pfn * PAGE), in_file(pfn) ? pfn : 0);
		expected += in_file(pfn);
		if (!in_file(pfn)) {
			assert_null(gs_target_map(target, pfn * PAGE, 1));
			continue;
		}
		assert_true(gs_target_next_present(target, phys, &phys));
		assert_int_equal(phys, pfn * PAGE);
		phys += PAGE;
	}
	assert_false(gs_target_next_present(target, phys, &phys));
	assert_int_equal(gs_target_scan(target), expected);
}

static void pages_are_decompressed_when_they_are_read(void **state)
{
	(void)state;
	struct image image = image_create();

	write_kdump(&image);

	struct gs_target *target = open_target(image.spec);
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	assert_int_equal(count, 2);
	assert_int_equal(segments[0].size, 10 * PAGE);
	assert_int_equal(segments[1].phys, 20 * PAGE);
	assert_int_equal(segments[0].present[0], 0);
	assert_int_equal(read_u64(target, 9 * PAGE), 9);
	assert_int_equal(segments[0].present[0], 1 << 9);
	assert_pages(target);
	gs_target_close(target);
	close(image.fd);
}

static void a_damaged_page_is_a_hole(void **state)
{
	(void)state;
	struct image image = image_create();
	uint64_t phys;

	write_kdump(&image);
	// Page frame 3 is the second in the file, compressed: break its stream.
	image_write(&image, DATA + PAGE, "broken", 6);

	struct gs_target *target = open_target(image.spec);

	assert_true(gs_target_next_present(target, PAGE, &phys));
	assert_int_equal(phys, 6 * PAGE);
	assert_null(gs_target_map(target, 3 * PAGE, 1));
	assert_int_equal(read_u64(target, 3 * PAGE), 0);
	gs_target_close(target);
	close(image.fd);
}

static void write_block(struct image *image, uint64_t *at, int64_t offset, int64_t size,
			const void *data)
{
	const int64_t header[] = { htobe64(offset), htobe64(size) };

	image_write(image, *at, header, sizeof(header));
	*at += sizeof(header);
	if (size > 0 && data) {
		image_write(image, *at, data, size);
		*at += size;
	}
}

static uint64_t write_flat_header(struct image *image)
{
	const struct {
		char signature[16];
		int64_t type, version;
	} header = { "makedumpfile", htobe64(1), htobe64(1) };

	image_write(image, 0, &header, sizeof(header));
	return PAGE;
}

static void a_flattened_core_is_put_in_order(void **state)
{
	(void)state;
	struct image plain = image_create(), flat = image_create();
	uint64_t at = write_flat_header(&flat);
	uint8_t bytes[PAGE];
	off_t size;

	write_kdump(&plain);
	size = lseek(plain.fd, 0, SEEK_END);
	// Backwards, since the order of the blocks is free.
	for (off_t block = (size - 1) / (off_t)PAGE; block >= 0; block--) {
		ssize_t n = pread(plain.fd, bytes, PAGE, block * PAGE);

		assert_true(n > 0);
		write_block(&flat, &at, block * PAGE, n, bytes);
	}
	assert_refused(flat.spec, "truncated");
	write_block(&flat, &at, -1, -1, NULL);

	struct gs_target *target = open_target(flat.spec);

	assert_pages(target);
	gs_target_close(target);
	close(plain.fd);
	close(flat.fd);
}

static void damaged_flattened_cores_are_refused(void **state)
{
	static const int64_t bad[][2] = {
		{ -2, 8 }, { 0, 0 }, { 0, -1 }, { -1, 8 }, { INT64_MAX, 8 }, { 0, INT64_MAX },
	};

	(void)state;
	struct image image = image_create();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t at = write_flat_header(&image);

		write_block(&image, &at, bad[i][0], bad[i][1], NULL);
		assert_refused(image.spec, "damaged");
	}

	uint64_t at = write_flat_header(&image);

	write_block(&image, &at, 0, 5000, NULL);
	assert_refused(image.spec, "missing");
	at = write_flat_header(&image);
	write_block(&image, &at, 0, 8, "nothing ");
	write_block(&image, &at, -1, -1, NULL);
	assert_refused(image.spec, "unknown format");
	image_write(&image, 16, "\377", 1);
	assert_refused(image.spec, "unknown type");
	close(image.fd);
}

static void a_truncated_compressed_core_is_refused(void **state)
{
	(void)state;
	struct image image = image_create();

	write_kdump(&image);
	image_resize(&image, lseek(image.fd, 0, SEEK_END) - 1);
	assert_refused(image.spec, "truncated");
	image_resize(&image, 300);
	assert_refused(image.spec, "truncated");
	close(image.fd);
}

static void a_compressed_core_of_another_machine_is_refused(void **state)
{
	(void)state;
	struct image image = image_create();
	struct disk_dump_header header = kdump_header();

	write_kdump(&image);
	memcpy(header.utsname[4], "aarch64", 8);
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "aarch64");
	close(image.fd);
}

static void a_page_larger_than_a_page_is_a_hole(void **state)
{
	(void)state;
	struct image image = image_create();
	struct page_desc desc = { .offset = DATA,
				  .size = 2 * PAGE,
				  .flags = DUMP_DH_COMPRESSED_ZLIB };

	write_kdump(&image);
	image_write(&image, DESCS, &desc, sizeof(desc));
	desc.flags = 0;
	image_write(&image, DESCS + sizeof(desc), &desc, sizeof(desc));

	struct gs_target *target = open_target(image.spec);

	assert_false(gs_target_fault(target, 0, 0));
	assert_false(gs_target_fault(target, 0, 3));
	assert_true(gs_target_fault(target, 0, 6));
	gs_target_close(target);
	close(image.fd);
}

static void damaged_headers_are_refused(void **state)
{
	(void)state;
	struct image image = image_create();
	struct kdump_sub_header sub = { .split = 1 };
	struct disk_dump_header header;

	write_kdump(&image);
	header = kdump_header();
	header.block_size = 512;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "blocks of 512 bytes");
	header = kdump_header();
	header.bitmap_blocks = UINT32_MAX;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "damaged");
	header.bitmap_blocks = 200;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "truncated: the bitmaps");
	header = kdump_header();
	header.sub_hdr_size = UINT32_MAX;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "truncated: the bitmaps");
	header = kdump_header();
	image_write(&image, 0, &header, sizeof(header));
	image_write(&image, PAGE, &sub, sizeof(sub));
	assert_refused(image.spec, "--reassemble");
	close(image.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_decompressed_when_they_are_read),
		cmocka_unit_test(a_damaged_page_is_a_hole),
		cmocka_unit_test(a_page_larger_than_a_page_is_a_hole),
		cmocka_unit_test(damaged_headers_are_refused),
		cmocka_unit_test(a_flattened_core_is_put_in_order),
		cmocka_unit_test(damaged_flattened_cores_are_refused),
		cmocka_unit_test(a_truncated_compressed_core_is_refused),
		cmocka_unit_test(a_compressed_core_of_another_machine_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
