// SPDX-License-Identifier: Apache-2.0
// Fat detectors as files: what is accepted, and how the rest is refused.
#include "engine_builder.h"

#include <unistd.h>

static void sample(struct builder *b)
{
	builder_init(b);
	builder_detector(b, "processes", "gs_run_processes");
	builder_slot(b, GS_SLOT_FIELD_OFFSET, 4, "task_struct", ".pid");
	builder_slot(b, GS_SLOT_SYMBOL, 0, "init_task", "");
	builder_format(b, GS_RECORD_ROW, "pid=%d comm=%s", 2);
	b->ptx = ".version 7.0\n";
}

static void a_whole_file_opens(void **state)
{
	struct builder b;
	struct gs_detector_info info;

	(void)state;
	sample(&b);

	struct gs_fat *fat = builder_open(&b);

	assert_int_equal(gs_fat_detector_count(fat), 1);
	gs_fat_detector_info(fat, 0, &info);
	assert_string_equal(info.name, "processes");
	assert_string_equal(info.description, "what it finds");
	assert_string_equal(info.file, "sample.so");
	assert_int_equal(info.period_us, 100000);
	assert_int_equal(info.fields, 1);
	assert_int_equal(info.symbols, 1);
	assert_int_equal(info.ptx_size, strlen(b.ptx));
	gs_fat_detector_info(fat, 1, &info);
	assert_null(info.name);

	char site[64];

	fat_site_name(fat, 0, true, site, sizeof(site));
	assert_string_equal(site, "detectors/sample.c:31:7");
	fat_site_name(fat, 0, false, site, sizeof(site));
	assert_string_equal(site, "detectors/sample.c:31");
	gs_fat_close(fat);
	gs_fat_close(NULL);
}

static void refuse(struct built *built, const char *part)
{
	struct gs_fat *fat = NULL;

	assert_error(built_open(built, &fat), GS_ERROR_DETECTOR, part);
	assert_null(fat);
}

static void other_files_are_no_detectors(void **state)
{
	struct builder b;
	struct gs_fat *fat;

	(void)state;
	sample(&b);

	struct built built = builder_build(&b);

	memcpy(built.image, "#!/bin/sh", 9);
	refuse(&built, "not a detector: no ELF file");

	built = builder_build(&b);
	built.size = 0;
	refuse(&built, "not a detector: no ELF file");

	built = builder_build(&b);
	((Elf64_Ehdr *)built.image)->e_type = ET_EXEC;
	refuse(&built, "no x86-64 shared object");

	built = builder_build(&b);
	((Elf64_Ehdr *)built.image)->e_machine = EM_AARCH64;
	refuse(&built, "no x86-64 shared object");

	built = builder_build(&b);
	((Elf64_Shdr *)(built.image + built.shdrs))[1].sh_name = 0;
	refuse(&built, "no section .gpusentinel");

	assert_error(gs_fat_open("/nonexistent.so", &fat), GS_ERROR_DETECTOR, "No such file");
	assert_error(gs_fat_open("/", &fat), GS_ERROR_DETECTOR, "not a file");
}

static void truncated_files_are_refused(void **state)
{
	struct builder b;

	(void)state;
	sample(&b);
	for (size_t cut = 1;; cut += 7) {
		struct built built = builder_build(&b);
		struct gs_fat *fat;

		if (cut > built.size) {
			free(built.image);
			break;
		}
		built.size -= cut;
		assert_error(built_open(&built, &fat), GS_ERROR_DETECTOR, "sample.so: ");
	}
}

static struct gs_fat_header *header_of(struct built *built)
{
	return (struct gs_fat_header *)(built->image + built->manifest);
}

static void threads_are_checked(void **state)
{
	static const struct {
		uint32_t threads, blocks;
		bool good;
	} cases[] = {
		{ 1, 1, true },	   { 1, 64, true },   { 32, 1, true },	{ 1024, 64, true },
		{ 0, 1, false },   { 1, 0, false },   { 33, 1, false }, { 1056, 1, false },
		{ 32, 65, false }, { ~0u, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct builder b;

		builder_init(&b);
		builder_detector(&b, "parallel", "gs_run_parallel");
		b.detectors[0].threads = cases[i].threads;
		b.detectors[0].blocks = cases[i].blocks;

		struct built built = builder_build(&b);
		struct gs_detector_info info;
		struct gs_fat *fat;

		if (!cases[i].good) {
			refuse(&built, "number of threads");
			continue;
		}
		fat = builder_open(&b);
		free(built.image);
		gs_fat_detector_info(fat, 0, &info);
		assert_int_equal(info.threads, cases[i].threads);
		assert_int_equal(info.blocks, cases[i].blocks);
		gs_fat_close(fat);
	}
}

static void other_versions_are_named(void **state)
{
	struct builder b;

	(void)state;
	sample(&b);

	struct built built = builder_build(&b);

	header_of(&built)->version = 9;
	refuse(&built, "version 9, this program reads version 3");
}

static void tables_outside_the_manifest_are_refused(void **state)
{
	struct builder b;

	(void)state;
	sample(&b);
	for (size_t i = 0; i < 6; i++) {
		static const uint32_t offsets[] = { 0, 4, 0xfffffff8, 0x7ffffff8, 1 << 20 };

		for (size_t j = 0; j < 5; j++) {
			struct built built = builder_build(&b);

			(&header_of(&built)->detectors)[i].offset = offsets[j];
			refuse(&built, "damaged detector");
		}

		struct built built = builder_build(&b);

		(&header_of(&built)->detectors)[i].count = 0x08000001;
		refuse(&built, "damaged detector");
	}

	struct built built = builder_build(&b);

	header_of(&built)->size = UINT32_MAX;
	refuse(&built, "damaged detector");
	built = builder_build(&b);
	header_of(&built)->size = 8;
	refuse(&built, "damaged detector");
	built = builder_build(&b);
	header_of(&built)->magic[0] = 0;
	refuse(&built, "damaged detector");
	built = builder_build(&b);
	header_of(&built)->producer = UINT32_MAX;
	refuse(&built, "damaged detector");
}

static void entries_that_refer_to_nothing_are_refused(void **state)
{
	struct builder b;

	(void)state;
#define REFUSED(change)                                 \
	do {                                            \
		sample(&b);                             \
		change;                                 \
		struct built built = builder_build(&b); \
		refuse(&built, "sample.so: ");          \
	} while (0)

	REFUSED(b.detector_count = 0);
	REFUSED(b.detectors[0].name = 1 << 20);
	REFUSED(b.detectors[0].name = 0);
	REFUSED(b.detectors[0].function = builder_string(&b, "system(\"\")"));
	REFUSED(b.detectors[0].site = 1);
	REFUSED(builder_detector(&b, "processes", "gs_run_x"));
	REFUSED(b.slots[0].path = UINT32_MAX);
	REFUSED(b.slots[0].site = UINT32_MAX);
	REFUSED(b.slots[0].kind = 6);
	REFUSED(b.slots[0].kind = GS_SLOT_PARAM + 1);
	REFUSED((b.slots[0].kind = GS_SLOT_PARAM, b.slots[0].name = 0));
	REFUSED(b.slots[0].type_kind = 32);
	REFUSED(b.formats[0].format = 1 << 20);
	REFUSED(b.formats[0].kind = 0);
	REFUSED(b.formats[0].kind = GS_RECORD_ALARM);
	REFUSED(b.formats[0].kind = GS_RECORD_ALARM + 1);
	REFUSED(b.formats[0].nargs = 3);
	REFUSED(builder_format(&b, GS_RECORD_ROW, "%n", 1));
	REFUSED(b.sites[0].file = UINT32_MAX);
	REFUSED(b.strings[b.strings_size - 1] = 'x');
#undef REFUSED
}

static void sections_that_lie_are_refused(void **state)
{
	struct builder b;

	(void)state;
	sample(&b);
	for (size_t i = 1; i < 3; i++) {
		struct built built = builder_build(&b);
		Elf64_Shdr *shdrs = (Elf64_Shdr *)(built.image + built.shdrs);

		shdrs[i].sh_size = UINT64_MAX;
		refuse(&built, "damaged detector");
		built = builder_build(&b);
		shdrs = (Elf64_Shdr *)(built.image + built.shdrs);
		shdrs[i].sh_offset = UINT64_MAX - 8;
		refuse(&built, "damaged detector");
		built = builder_build(&b);
		shdrs = (Elf64_Shdr *)(built.image + built.shdrs);
		shdrs[i].sh_type = SHT_NOBITS;
		refuse(&built, "damaged detector");
	}

	struct built built = builder_build(&b);

	((Elf64_Phdr *)(built.image + sizeof(Elf64_Ehdr)))->p_filesz += 1;
	refuse(&built, "a segment lies behind its end");
	built = builder_build(&b);
	((Elf64_Shdr *)(built.image + built.shdrs))[2].sh_size -= 1;
	refuse(&built, "its PTX does not end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file_opens),
		cmocka_unit_test(other_files_are_no_detectors),
		cmocka_unit_test(truncated_files_are_refused),
		cmocka_unit_test(threads_are_checked),
		cmocka_unit_test(other_versions_are_named),
		cmocka_unit_test(tables_outside_the_manifest_are_refused),
		cmocka_unit_test(entries_that_refer_to_nothing_are_refused),
		cmocka_unit_test(sections_that_lie_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
