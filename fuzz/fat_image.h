/* SPDX-License-Identifier: Apache-2.0 */
// The smallest ELF file around a manifest, so that a fuzzer need not find one.
#ifndef FUZZ_FAT_IMAGE_H
#define FUZZ_FAT_IMAGE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/fat.h>

#define FAT_IMAGE_NAMES "\0" GS_FAT_SECTION "\0" GS_FAT_PTX_SECTION "\0.shstrtab"

// Headers first, so that the manifest is aligned as in a real one; its end is the file's end.
struct fat_image_head {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	Elf64_Shdr shdrs[4];
	char names[64];
	char ptx[16];
};

// From malloc(); NULL if memory is short.
static inline uint8_t *fat_image_create(const uint8_t *manifest, size_t size, size_t *size_ret)
{
	uint8_t *image = malloc(sizeof(struct fat_image_head) + size);
	struct fat_image_head head = {
		.ehdr = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       EV_CURRENT },
			  .e_type = ET_DYN,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_phoff = offsetof(struct fat_image_head, phdr),
			  .e_shoff = offsetof(struct fat_image_head, shdrs),
			  .e_ehsize = sizeof(Elf64_Ehdr),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 1,
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = 4,
			  .e_shstrndx = 3 },
		.phdr = { .p_type = PT_LOAD,
			  .p_flags = PF_R,
			  .p_filesz = sizeof(head) + size,
			  .p_memsz = sizeof(head) + size },
		.shdrs = { {},
			   { .sh_name = 1,
			     .sh_type = SHT_PROGBITS,
			     .sh_offset = sizeof(head),
			     .sh_size = size },
			   { .sh_name = 1 + sizeof(GS_FAT_SECTION),
			     .sh_type = SHT_PROGBITS,
			     .sh_offset = offsetof(struct fat_image_head, ptx),
			     .sh_size = sizeof(head.ptx) },
			   { .sh_name = 1 + sizeof(GS_FAT_SECTION) + sizeof(GS_FAT_PTX_SECTION),
			     .sh_type = SHT_STRTAB,
			     .sh_offset = offsetof(struct fat_image_head, names),
			     .sh_size = sizeof(head.names) } },
		.names = FAT_IMAGE_NAMES,
		.ptx = ".version 7.0",
	};

	if (!image)
		return NULL;
	memcpy(image, &head, sizeof(head));
	if (size)
		memcpy(image + sizeof(head), manifest, size);
	*size_ret = sizeof(head) + size;
	return image;
}

// Input of the targets: an ELF file as it is, anything else a manifest to be wrapped.
static inline uint8_t *fat_image_input(const uint8_t *data, size_t size, size_t *size_ret)
{
	if (size < SELFMAG || memcmp(data, ELFMAG, SELFMAG) != 0)
		return fat_image_create(data, size, size_ret);

	uint8_t *image = malloc(size);

	if (!image)
		return NULL;
	memcpy(image, data, size);
	*size_ret = size;
	return image;
}

#endif
