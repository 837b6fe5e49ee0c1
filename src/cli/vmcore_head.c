// SPDX-License-Identifier: Apache-2.0
#include "cli/vmcore_head.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/target.h>

#include "util/cleanup.h"

static const char name[] = "VMCOREINFO";

_Static_assert(sizeof(Elf64_Nhdr) + ((sizeof(name) + 3) & ~3) == VMCORE_NOTE_HEAD,
	       "Linux include/linux/elfcore.h");

static uint64_t align_page(uint64_t value)
{
	return (value + GS_PAGE_SIZE - 1) & ~(GS_PAGE_SIZE - 1);
}

struct gs_error *vmcore_check_note(const struct gs_mailbox_memory *memory)
{
	if (memory->note_size <= VMCORE_NOTE_MAX)
		return NULL;
	return gs_error_address(GS_ERROR_KERNEL, memory->note_phys,
				"VMCOREINFO claims %u bytes, which no kernel writes",
				memory->note_size);
}

// Build the note from the kernel's own text: header, name and text, each padded to 4 bytes.
static void put_note(const struct gs_mailbox_memory *memory, const void *text, uint8_t *to)
{
	Elf64_Nhdr header = { .n_namesz = sizeof(name), .n_descsz = memory->note_size };

	memcpy(to, &header, sizeof(header));
	memcpy(to + sizeof(header), name, sizeof(name));
	memcpy(to + VMCORE_NOTE_HEAD, text, memory->note_size);
}

static Elf64_Phdr load(uint64_t phys, uint64_t virt, uint64_t offset, uint64_t size)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_W | PF_X,
		.p_offset = offset,
		.p_vaddr = virt,
		.p_paddr = phys,
		.p_filesz = size,
		.p_memsz = size,
	};
}

// The kernel image's PT_LOAD, if it lies in one segment; @offset is where that segment's bytes begin.
static bool image_load(const struct gs_mailbox_memory *map,
		       const struct gs_mailbox_segment *segment, uint64_t offset, Elf64_Phdr *ret)
{
	uint64_t into = map->image_phys - segment->phys;

	if (!map->image_size || map->image_phys < segment->phys || into >= segment->size)
		return false;

	uint64_t size = segment->size - into;

	size = map->image_size < size ? map->image_size : size;
	*ret = load(map->image_phys, map->image_base, offset + into, size);
	return true;
}

struct gs_error *vmcore_head_make(const struct gs_mailbox_memory *memory, const void *text,
				  struct vmcore_head *ret)
{
	size_t note_size = VMCORE_NOTE_HEAD + ((memory->note_size + 3u) & ~3u), n = 0;
	struct gs_error *err = vmcore_check_note(memory);

	if (err)
		return err;

	// e_phnum has 16 bits, and PN_XNUM readers are rare; segments are far fewer (GS_MAP_SEGMENTS).
	size_t most = memory->segment_count + 2;

	if (most >= PN_XNUM)
		return gs_error_create(GS_ERROR_OTHER, "too many segments for an ELF core");

	size_t note_offset = sizeof(Elf64_Ehdr) + most * sizeof(Elf64_Phdr);

	uint64_t head_size = align_page(note_offset + note_size), offset = head_size;
	_cleanup_free_ uint8_t *head = calloc(1, head_size);

	if (!head)
		return &gs_enomem;

	Elf64_Phdr *phdrs = (Elf64_Phdr *)(head + sizeof(Elf64_Ehdr)), image;
	bool has_image = false;

	phdrs[n++] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = note_offset,
		.p_filesz = note_size,
		.p_memsz = note_size,
		.p_align = 4,
	};
	// The image comes first, as in kdump: readers that take the first match find it by its address.
	for (size_t i = 0; i < memory->segment_count && !has_image; i++) {
		has_image = image_load(memory, &memory->segments[i], offset, &image);
		offset += memory->segments[i].size;
	}
	if (has_image)
		phdrs[n++] = image;
	offset = head_size;
	for (size_t i = 0; i < memory->segment_count; i++) {
		const struct gs_mailbox_segment *segment = &memory->segments[i];
		uint64_t virt = memory->direct_base ? memory->direct_base + segment->phys : 0;

		phdrs[n++] = load(segment->phys, virt, offset, segment->size);
		if (__builtin_add_overflow(offset, segment->size, &offset) || offset > INT64_MAX)
			return gs_error_create(GS_ERROR_OTHER, "too much memory for one file");
	}
	put_note(memory, text, head + note_offset);

	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT, ELFOSABI_NONE },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = n,
	};

	memcpy(head, &header, sizeof(header));
	*ret = (struct vmcore_head){ no_cleanup_ptr(head), head_size, offset };
	return NULL;
}
