/* SPDX-License-Identifier: Apache-2.0 */
// Builds fat detectors by hand, right and wrong ones.
#ifndef TEST_ENGINE_BUILDER_H
#define TEST_ENGINE_BUILDER_H

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/fat.h"

#define BUILDER_MAX 64

struct builder {
	char strings[4096];
	uint32_t strings_size;
	struct gs_fat_detector detectors[BUILDER_MAX];
	struct gs_fat_slot slots[BUILDER_MAX];
	struct gs_fat_format formats[BUILDER_MAX];
	struct gs_fat_site sites[BUILDER_MAX];
	uint32_t detector_count, slot_count, format_count, site_count;
	const char *ptx;
};

// Where the parts of the image lie, for tests that damage them.
struct built {
	uint8_t *image;
	size_t size;
	size_t manifest, shdrs;
};

static inline uint32_t builder_string(struct builder *b, const char *s)
{
	uint32_t offset = b->strings_size;
	size_t size = strlen(s) + 1;

	assert_true(offset + size <= sizeof(b->strings));
	memcpy(b->strings + offset, s, size);
	b->strings_size += (uint32_t)size;
	return offset;
}

static inline uint32_t builder_site(struct builder *b, const char *file, uint32_t line,
				    uint32_t column)
{
	b->sites[b->site_count] = (struct gs_fat_site){
		.file = builder_string(b, file),
		.function = builder_string(b, "gs_run"),
		.line = line,
		.column = column,
	};
	return b->site_count++;
}

static inline void builder_init(struct builder *b)
{
	memset(b, 0, sizeof(*b));
	builder_string(b, "");
	builder_site(b, "detectors/sample.c", 31, 7);
}

static inline void builder_detector(struct builder *b, const char *name, const char *function)
{
	b->detectors[b->detector_count++] = (struct gs_fat_detector){
		.name = builder_string(b, name),
		.function = builder_string(b, function),
		.description = builder_string(b, "what it finds"),
		.period_us = 100000,
		.threads = 1,
		.blocks = 1,
	};
}

static inline struct gs_fat_slot *builder_slot(struct builder *b, uint16_t kind, uint32_t type_kind,
					       const char *name, const char *path)
{
	struct gs_fat_slot *slot = &b->slots[b->slot_count++];

	*slot = (struct gs_fat_slot){
		.kind = kind,
		.type_kind = type_kind,
		.name = builder_string(b, name),
		.path = builder_string(b, path),
	};
	return slot;
}

static inline uint32_t builder_format(struct builder *b, uint32_t kind, const char *format,
				      uint32_t nargs)
{
	b->formats[b->format_count] = (struct gs_fat_format){
		.format = builder_string(b, format),
		.kind = kind,
		.nargs = nargs,
	};
	return b->format_count++;
}

static inline uint32_t builder_table(uint8_t *manifest, uint32_t *end, struct gs_fat_table *table,
				     const void *entries, uint32_t count, size_t size)
{
	*table = (struct gs_fat_table){ .offset = *end, .count = count };
	if (count)
		memcpy(manifest + *end, entries, count * size);
	*end += (uint32_t)((count * size + 7) & ~(size_t)7);
	return *end;
}

static inline struct built builder_build(const struct builder *b)
{
	static const char names[] = "\0" GS_FAT_SECTION "\0" GS_FAT_PTX_SECTION "\0.shstrtab";
	size_t room = sizeof(*b) + 4096 + (b->ptx ? strlen(b->ptx) : 0);
	struct built built = { .image = calloc(1, room),
			       .manifest = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) };

	assert_non_null(built.image);

	uint8_t *manifest = built.image + built.manifest;
	struct gs_fat_header *header = (struct gs_fat_header *)manifest;
	uint32_t end = sizeof(*header);

	memcpy(header->magic, GS_FAT_MAGIC, sizeof(header->magic));
	header->version = GS_FAT_VERSION;
	builder_table(manifest, &end, &header->detectors, b->detectors, b->detector_count,
		      sizeof(b->detectors[0]));
	builder_table(manifest, &end, &header->slots, b->slots, b->slot_count, sizeof(b->slots[0]));
	builder_table(manifest, &end, &header->formats, b->formats, b->format_count,
		      sizeof(b->formats[0]));
	builder_table(manifest, &end, &header->sites, b->sites, b->site_count, sizeof(b->sites[0]));
	builder_table(manifest, &end, &header->loads, NULL, 0, 0);
	builder_table(manifest, &end, &header->strings, b->strings, b->strings_size, 1);
	header->size = end;

	size_t ptx = built.manifest + end, ptx_size = b->ptx ? strlen(b->ptx) + 1 : 0;

	if (b->ptx)
		memcpy(built.image + ptx, b->ptx, ptx_size);

	size_t shstrtab = ptx + ptx_size;

	memcpy(built.image + shstrtab, names, sizeof(names));
	built.shdrs = (shstrtab + sizeof(names) + 7) & ~(size_t)7;

	Elf64_Shdr shdrs[] = {
		{},
		{ .sh_name = 1,
		  .sh_type = SHT_PROGBITS,
		  .sh_offset = built.manifest,
		  .sh_size = end },
		{ .sh_name = 1 + sizeof(GS_FAT_SECTION),
		  .sh_type = SHT_PROGBITS,
		  .sh_offset = ptx,
		  .sh_size = ptx_size },
		{ .sh_name = 1 + sizeof(GS_FAT_SECTION) + sizeof(GS_FAT_PTX_SECTION),
		  .sh_type = SHT_STRTAB,
		  .sh_offset = shstrtab,
		  .sh_size = sizeof(names) },
	};

	memcpy(built.image + built.shdrs, shdrs, sizeof(shdrs));
	built.size = built.shdrs + sizeof(shdrs);
	assert_true(built.size <= room);

	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_shoff = built.shdrs,
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 4,
		.e_shstrndx = 3,
	};
	Elf64_Phdr phdr = {
		.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = built.size, .p_memsz = built.size
	};

	memcpy(built.image, &ehdr, sizeof(ehdr));
	memcpy(built.image + sizeof(ehdr), &phdr, sizeof(phdr));
	return built;
}

// Takes the image, and cuts it to its size, so that AddressSanitizer sees a read behind its end.
static inline struct gs_error *built_open(struct built *built, struct gs_fat **ret)
{
	uint8_t *exact = malloc(built->size ? built->size : 1);

	assert_non_null(exact);
	memcpy(exact, built->image, built->size);
	free(built->image);
	return fat_create_take("sample.so", exact, built->size, ret);
}

static inline struct gs_fat *builder_open(const struct builder *b)
{
	struct built built = builder_build(b);
	struct gs_fat *fat;
	struct gs_error *err = built_open(&built, &fat);

	if (err)
		fail_msg("%s", err->message);
	return fat;
}

// The error says @part; ends it.
static inline void assert_error(struct gs_error *err, enum gs_error_code code, const char *part)
{
	assert_non_null(err);
	if (err->code != code || !strstr(err->message, part))
		fail_msg("error %d \"%s\" instead of %d \"%s\"", err->code, err->message, code,
			 part);
	gs_error_destroy(err);
}

#endif
