// SPDX-License-Identifier: Apache-2.0
// Memory in files: ELF vmcores, LiME, raw images, and everything that is wrong with them.
#include "target_support.h"

#include "target/filemem.h"

static void an_elf_core_is_mapped_in_place(void **state)
{
	(void)state;
	struct image image = image_create();
	// Bytes at an offset that is no multiple of a page, as QEMU writes them.
	const Elf64_Phdr phdrs[] = {
		{ .p_type = PT_NOTE, .p_offset = 0x100, .p_filesz = 8 },
		elf_load(0, 0x7c8, 4 * PAGE, 4 * PAGE),
		elf_load(0x100000000, 0x7c8 + 4 * PAGE, 2 * PAGE, 2 * PAGE),
	};

	image_write_elf(&image, phdrs, 3);
	image_write_pages(&image, 0x7c8, 6, 100);

	struct gs_target *target = open_target(image.spec);

	assert_int_equal(count_segments(target), 2);
	assert_int_equal(read_u64(target, 3 * PAGE), 103);
	assert_int_equal(read_u64(target, 0x100000000 + PAGE), 105);
	assert_no_memory(target, 4 * PAGE);
	assert_int_equal(gs_target_scan(target), 6);
	gs_target_close(target);
	close(image.fd);
}

static void kdump_has_the_kernel_text_twice(void **state)
{
	(void)state;
	struct image image = image_create();
	// The text mapping comes first, then all memory, which holds it again.
	const Elf64_Phdr phdrs[] = {
		elf_load(4 * PAGE, 0x1000, 2 * PAGE, 2 * PAGE),
		elf_load(0, 0x3000, 16 * PAGE, 16 * PAGE),
	};
	uint64_t buf[2];

	image_write_elf(&image, phdrs, 2);
	image_write_pages(&image, 0x1000, 2, 4);
	image_write_pages(&image, 0x3000, 16, 0);

	struct gs_target *target = open_target(image.spec);
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	for (size_t i = 1; i < count; i++)
		assert_true(segments[i - 1].phys + segments[i - 1].size <= segments[i].phys);
	for (uint64_t page = 0; page < 16; page++)
		assert_int_equal(read_u64(target, page * PAGE), page);
	assert_null(gs_target_read(target, 4 * PAGE - 8, buf, 16));
	assert_int_equal(buf[1], 4);
	gs_target_close(target);
	close(image.fd);
}

static void ranges_that_end_within_a_page_lose_that_page(void **state)
{
	(void)state;
	struct image image = image_create();
	// The area below 640K of a PC ends with firmware data that Linux does not use.
	const Elf64_Phdr phdrs[] = {
		elf_load(0x1000, 0x1000, 0x9ec00, 0x9ec00),
		elf_load(0x100400, 0xa0400, 0x3c00, 0x3c00),
	};

	image_write_elf(&image, phdrs, 2);
	image_resize(&image, 0xa4000);
	image_write_pages(&image, 0x1000, 0x9e, 1);
	image_write_pages(&image, 0xa1000, 3, 0x101);

	struct gs_target *target = open_target(image.spec);

	assert_int_equal(read_u64(target, 0x9e000), 0x9e);
	assert_no_memory(target, 0x9f000);
	assert_no_memory(target, 0x100400);
	assert_int_equal(read_u64(target, 0x101000), 0x101);
	assert_int_equal(read_u64(target, 0x103000), 0x103);
	assert_no_memory(target, 0x104000);
	gs_target_close(target);
	close(image.fd);
}

static void pages_that_makedumpfile_left_out_are_holes(void **state)
{
	(void)state;
	struct image image = image_create();
	const Elf64_Phdr phdrs[] = {
		elf_load(0, 0x1000, 2 * PAGE, 5 * PAGE),
		elf_load(5 * PAGE, 0x3000, PAGE, 3 * PAGE),
	};
	uint64_t phys;

	image_write_elf(&image, phdrs, 2);
	image_write_pages(&image, 0x1000, 2, 1000);
	image_write_pages(&image, 0x3000, 1, 1005);

	struct gs_target *target = open_target(image.spec);

	assert_int_equal(count_segments(target), 1);
	assert_int_equal(gs_target_scan(target), 3);
	assert_int_equal(read_u64(target, PAGE), 1001);
	assert_int_equal(read_u64(target, 2 * PAGE), 0);
	assert_null(gs_target_map(target, 2 * PAGE, 8));
	assert_int_equal(read_u64(target, 5 * PAGE), 1005);
	assert_true(gs_target_next_present(target, 2 * PAGE, &phys));
	assert_int_equal(phys, 5 * PAGE);
	assert_false(gs_target_next_present(target, 6 * PAGE, &phys));
	gs_target_close(target);
	close(image.fd);
}

static void more_segments_than_e_phnum_can_count(void **state)
{
	enum { SEGMENTS = 70000 };

	(void)state;
	struct image image = image_create();
	Elf64_Phdr *phdrs = calloc(SEGMENTS, sizeof(*phdrs));
	uint64_t data = sizeof(Elf64_Ehdr) + SEGMENTS * sizeof(*phdrs) + sizeof(Elf64_Shdr);
	Elf64_Ehdr ehdr = elf_header(PN_XNUM);
	Elf64_Shdr shdr = { .sh_info = SEGMENTS };

	assert_non_null(phdrs);
	// In reverse order and with one page only, so that none of them can be joined in the file.
	for (uint64_t i = 0; i < SEGMENTS; i++)
		phdrs[i] = elf_load((SEGMENTS - i) * PAGE, data, PAGE, PAGE);
	ehdr.e_shoff = sizeof(ehdr) + SEGMENTS * sizeof(*phdrs);
	image_write(&image, 0, &ehdr, sizeof(ehdr));
	image_write(&image, sizeof(ehdr), phdrs, SEGMENTS * sizeof(*phdrs));
	image_write(&image, ehdr.e_shoff, &shdr, sizeof(shdr));
	image_write_pages(&image, data, 1, 42);
	free(phdrs);

	struct gs_target *target = open_target(image.spec);

	assert_true(count_segments(target) <= GS_FILEMEM_SEGMENTS);
	assert_int_equal(read_u64(target, PAGE), 42);
	assert_int_equal(read_u64(target, SEGMENTS * PAGE), 42);
	assert_no_memory(target, 0);
	assert_int_equal(gs_target_scan(target), SEGMENTS);
	gs_target_close(target);
	close(image.fd);
}

static void a_truncated_elf_core_says_what_is_missing(void **state)
{
	(void)state;
	struct image image = image_create();
	const Elf64_Phdr phdrs[] = {
		elf_load(0, 0x1000, PAGE, PAGE),
		elf_load(0x100000, 0x2000, 4 * PAGE, 4 * PAGE),
	};

	image_write_elf(&image, phdrs, 2);
	image_resize(&image, 0x3000);
	assert_refused(image.spec, "segment 1 (physical address 0x100000)");
	assert_refused(image.spec, "12288 bytes are missing");
	image_resize(&image, sizeof(Elf64_Ehdr) + 60);
	assert_refused(image.spec, "the table of segments");
	image_resize(&image, 20);
	assert_refused(image.spec, "the ELF header");
	close(image.fd);
}

static void assert_elf_refused(const Elf64_Ehdr *ehdr, const Elf64_Phdr *phdrs, size_t count,
			       const char *text)
{
	struct image image = image_create();

	image_resize(&image, 16 * PAGE);
	image_write(&image, 0, ehdr, sizeof(*ehdr));
	if (count)
		image_write(&image, sizeof(*ehdr), phdrs, count * sizeof(*phdrs));
	assert_refused(image.spec, text);
	close(image.fd);
}

static void elf_files_that_are_no_vmcore_are_refused(void **state)
{
	(void)state;
	const Elf64_Phdr process[] = { elf_load(0, PAGE, PAGE, PAGE),
				       elf_load(0, PAGE, PAGE, PAGE) };
	const Elf64_Phdr wraps = elf_load(0xffffffffffffe000, PAGE, PAGE, UINT64_MAX);
	const Elf64_Phdr far = elf_load(PAGE, UINT64_MAX - 5, PAGE, PAGE);
	const Elf64_Phdr part = elf_load(0x100, PAGE, 0x200, 0x200);
	const Elf64_Phdr huge = elf_load(0, PAGE, PAGE, UINT64_C(1) << 51);
	Elf64_Ehdr ehdr;

	ehdr = elf_header(0);
	ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	assert_elf_refused(&ehdr, NULL, 0, "32-bit");
	ehdr = elf_header(0);
	ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_elf_refused(&ehdr, NULL, 0, "big-endian");
	ehdr = elf_header(0);
	ehdr.e_machine = EM_AARCH64;
	assert_elf_refused(&ehdr, NULL, 0, "machine 183");
	ehdr = elf_header(0);
	ehdr.e_type = ET_EXEC;
	assert_elf_refused(&ehdr, NULL, 0, "not a core");
	ehdr = elf_header(1);
	ehdr.e_phentsize = 32;
	assert_elf_refused(&ehdr, NULL, 0, "program headers of 32 bytes");
	ehdr = elf_header(0);
	assert_elf_refused(&ehdr, NULL, 0, "no PT_LOAD");
	ehdr = elf_header(2);
	assert_elf_refused(&ehdr, process, 2, "core of a process");
	ehdr = elf_header(1);
	assert_elf_refused(&ehdr, &wraps, 1, "damaged");
	assert_elf_refused(&ehdr, &far, 1, "damaged");
	assert_elf_refused(&ehdr, &part, 1, "no whole page");
	assert_elf_refused(&ehdr, &huge, 1, "64 TiB");
	ehdr.e_phoff = UINT64_MAX - 8;
	assert_elf_refused(&ehdr, NULL, 0, "damaged");
	ehdr = elf_header(PN_XNUM);
	ehdr.e_shoff = UINT64_C(1) << 40;
	assert_elf_refused(&ehdr, NULL, 0, "the first section header");
}

struct lime_header {
	uint32_t magic, version;
	uint64_t first, last, reserved;
};

static void write_lime(struct image *image, uint64_t offset, uint64_t phys, uint64_t pages)
{
	const struct lime_header header = { 0x4c694d45, 1, phys, phys + pages * PAGE - 1, 0 };

	image_write(image, offset, &header, sizeof(header));
	image_write_pages(image, offset + sizeof(header), pages, phys / PAGE);
}

static void lime_ranges_follow_one_another(void **state)
{
	(void)state;
	struct image image = image_create();

	write_lime(&image, 0, 0x1000, 3);
	write_lime(&image, 32 + 3 * PAGE, 0x100000, 2);

	struct gs_target *target = open_target(image.spec);

	assert_int_equal(count_segments(target), 2);
	assert_int_equal(read_u64(target, 0x3000), 3);
	assert_int_equal(read_u64(target, 0x101000), 0x101);
	assert_no_memory(target, 0x4000);
	assert_no_memory(target, 0);
	gs_target_close(target);
	close(image.fd);
}

static void damaged_lime_images_are_refused(void **state)
{
	(void)state;
	struct image image = image_create();
	struct lime_header header = { 0x4c694d45, 1, 0x1000, 0x3fff, 0 };

	write_lime(&image, 0, 0x1000, 3);
	image_resize(&image, 32 + 3 * PAGE + 32);
	assert_refused(image.spec, "no LiME header where the next range begins");
	image_resize(&image, 32 + 3 * PAGE + 8);
	assert_refused(image.spec, "a LiME header");
	image_resize(&image, 32 + 3 * PAGE - 1);
	assert_refused(image.spec, "(1 bytes are missing)");
	header.version = 2;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "LiME version 2");
	header.version = 1;
	header.last = 0xfff;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "damaged");
	header.last = UINT64_MAX;
	image_write(&image, 0, &header, sizeof(header));
	assert_refused(image.spec, "damaged");
	close(image.fd);
}

static void a_raw_image_has_the_layout_that_is_given(void **state)
{
	(void)state;
	struct image image = image_create();

	image_write_pages(&image, 0, 8, 0);

	// Without offset a range goes on where the last one ended.
	struct gs_target *target = open_layout(image.spec, "0x0:8K@0x2000,4G:010000,1M:4K@0");

	assert_int_equal(count_segments(target), 3);
	assert_int_equal(read_u64(target, 0), 2);
	assert_int_equal(read_u64(target, UINT64_C(4) << 30), 4);
	assert_int_equal(read_u64(target, 0x100000), 0);
	gs_target_close(target);
	close(image.fd);
}

static void bad_layouts_are_refused(void **state)
{
	static const struct {
		const char *layout, *text;
		enum gs_error_code code;
	} bad[] = {
		{ "", "no physical address", GS_ERROR_USAGE },
		{ "x", "no physical address", GS_ERROR_USAGE },
		{ "0", "no size", GS_ERROR_USAGE },
		{ "0:", "no size", GS_ERROR_USAGE },
		{ "0:4K@", "no offset", GS_ERROR_USAGE },
		{ "0:4K,", "no physical address", GS_ERROR_USAGE },
		{ "0:4K;4K:4K", "too much", GS_ERROR_USAGE },
		{ "0:4KB", "too much", GS_ERROR_USAGE },
		{ "0:0", "size zero", GS_ERROR_USAGE },
		{ "0:100", "multiple of 4096", GS_ERROR_USAGE },
		{ "8:4K", "multiple of 4096", GS_ERROR_USAGE },
		{ "4096T:4K", "52 bits", GS_ERROR_USAGE },
		{ "0xfffffffffffff000:8K", "52 bits", GS_ERROR_USAGE },
		{ "99999999999999999999:4K", "no physical address", GS_ERROR_USAGE },
		{ "0:99999999T", "no size", GS_ERROR_USAGE },
		{ "0:8K,4K:4K", "is there twice", GS_ERROR_USAGE },
		{ "0:64K", "truncated", GS_ERROR_TARGET },
		{ "0:4K@0xffffffffffffffff", "damaged", GS_ERROR_TARGET },
	};

	(void)state;
	struct image image = image_create();

	image_resize(&image, 4 * PAGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused_layout(image.spec, bad[i].layout, bad[i].code, bad[i].text);
	close(image.fd);
}

static void what_is_no_core_is_refused(void **state)
{
	(void)state;
	struct image image = image_create();

	assert_refused(image.spec, "is empty");
	image_write_pages(&image, 0, 4, 0);
	assert_refused(image.spec, "--layout");
	image_resize(&image, 1);
	assert_refused(image.spec, "unknown format");
	assert_refused("core:/", "neither a file nor a block device");
	assert_refused("core:/dev/null", "neither a file nor a block device");
	assert_refused("core:/no/such/file", "No such file");
	assert_refused_layout("core:", NULL, GS_ERROR_USAGE, "give a file");
	assert_refused_layout("cores:x", NULL, GS_ERROR_USAGE, "not a target");
	assert_refused_layout("", NULL, GS_ERROR_USAGE, "not a target");
	close(image.fd);
}

static void an_options_structure_without_layout_is_heeded(void **state)
{
	(void)state;
	struct image image = image_create();
	struct gs_target_options options = { .size = sizeof(size_t), .layout = "0:4K" };
	struct gs_target *target;

	image_write_pages(&image, 0, 1, 0);

	struct gs_error *err = gs_target_open(image.spec, &options, &target);

	assert_non_null(err);
	gs_error_destroy(err);
	close(image.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_elf_core_is_mapped_in_place),
		cmocka_unit_test(kdump_has_the_kernel_text_twice),
		cmocka_unit_test(ranges_that_end_within_a_page_lose_that_page),
		cmocka_unit_test(pages_that_makedumpfile_left_out_are_holes),
		cmocka_unit_test(more_segments_than_e_phnum_can_count),
		cmocka_unit_test(a_truncated_elf_core_says_what_is_missing),
		cmocka_unit_test(elf_files_that_are_no_vmcore_are_refused),
		cmocka_unit_test(lime_ranges_follow_one_another),
		cmocka_unit_test(damaged_lime_images_are_refused),
		cmocka_unit_test(a_raw_image_has_the_layout_that_is_given),
		cmocka_unit_test(bad_layouts_are_refused),
		cmocka_unit_test(what_is_no_core_is_refused),
		cmocka_unit_test(an_options_structure_without_layout_is_heeded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
