// SPDX-License-Identifier: Apache-2.0
// ELF64 vmcores: System V ABI, "Program Header"; PN_XNUM as in elf(5).
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "target/core.h"
#include "target/filemem.h"
#include "util/cleanup.h"

static struct gs_error *check_header(const Elf64_Ehdr *ehdr)
{
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		return gs_error_create(GS_ERROR_TARGET,
				       "is a 32-bit ELF file; only x86-64 kernels are understood");
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is a big-endian ELF file; only x86-64 kernels are understood");
	if (ehdr->e_machine != EM_X86_64)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is an ELF file of machine %u; only x86-64 (%u) is understood",
			ehdr->e_machine, EM_X86_64);
	if (ehdr->e_type != ET_CORE)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is an ELF file of type %u, not a core (%u); give the vmcore, "
			"not the kernel or a program",
			ehdr->e_type, ET_CORE);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr))
		return gs_error_create(GS_ERROR_TARGET,
				       "damaged: program headers of %u bytes instead of %zu",
				       ehdr->e_phentsize, sizeof(Elf64_Phdr));
	return NULL;
}

static struct gs_error *count_segments(const struct gs_core *core, const Elf64_Ehdr *ehdr,
				       uint64_t *ret)
{
	Elf64_Shdr shdr;

	*ret = ehdr->e_phnum;
	if (ehdr->e_phnum != PN_XNUM)
		return NULL;

	// More segments than e_phnum can count: the number is in the first section header.
	struct gs_error *err =
		gs_core_read(core, ehdr->e_shoff, &shdr, sizeof(shdr), "the first section header");

	if (err)
		return err;
	*ret = shdr.sh_info;
	return NULL;
}

// What an ELF core says about itself, as far as it is needed to tell a kernel's from a process's.
struct summary {
	size_t loads;
	bool any_phys;
};

static struct gs_error *add_segment(const struct gs_core *core, uint64_t number,
				    const Elf64_Phdr *phdr, struct gs_filemem *mem,
				    struct summary *summary)
{
	// /proc/kcore gives vmalloc space and modules, whose memory is in the direct map too, a
	// physical address of -1.
	if (phdr->p_type != PT_LOAD || phdr->p_memsz == 0 || phdr->p_paddr == UINT64_MAX)
		return NULL;

	uint64_t size = phdr->p_filesz < phdr->p_memsz ? phdr->p_filesz : phdr->p_memsz;
	char what[96];

	snprintf(what, sizeof(what), "segment %" PRIu64 " (physical address 0x%" PRIx64 ")", number,
		 (uint64_t)phdr->p_paddr);
	summary->loads++;
	summary->any_phys |= phdr->p_paddr != 0;

	struct gs_error *err = gs_core_check(core, phdr->p_offset, size, what);

	if (!err)
		err = gs_ranges_add(&mem->ranges, &(struct gs_range){
							  .phys = phdr->p_paddr,
							  .size = size,
							  .offset = phdr->p_offset,
						  });
	// makedumpfile -E leaves out pages that it excludes by ending the bytes in the file early.
	if (!err && phdr->p_memsz > size) {
		uint64_t rest;

		if (__builtin_add_overflow(phdr->p_paddr, size, &rest))
			return gs_error_create(GS_ERROR_TARGET,
					       "damaged: %s goes beyond all memory", what);
		err = gs_ranges_add(&mem->ranges, &(struct gs_range){
							  .phys = rest,
							  .size = phdr->p_memsz - size,
							  .source = GS_SOURCE_NONE,
						  });
	}
	return err;
}

static struct gs_error *add_segments(const struct gs_core *core, const Elf64_Ehdr *ehdr,
				     uint64_t count, struct gs_filemem *mem,
				     struct summary *summary)
{
	Elf64_Phdr phdrs[64];
	uint64_t size;

	if (__builtin_mul_overflow(count, (uint64_t)sizeof(*phdrs), &size))
		return gs_error_create(GS_ERROR_TARGET, "damaged: %" PRIu64 " segments", count);

	struct gs_error *err = gs_core_check(core, ehdr->e_phoff, size, "the table of segments");

	for (uint64_t i = 0; i < count && !err; i++) {
		uint64_t batch = count - i < 64 ? count - i : 64;

		if (i % 64 == 0)
			err = gs_core_read(core, ehdr->e_phoff + i * sizeof(*phdrs), phdrs,
					   batch * sizeof(*phdrs), "the table of segments");
		if (!err)
			err = add_segment(core, i, &phdrs[i % 64], mem, summary);
	}
	return err;
}

struct gs_error *gs_elf_open(struct gs_core *core, struct gs_target **ret)
{
	_cleanup_filemem_ struct gs_filemem *mem = NULL;
	struct summary summary = {};
	uint64_t count;
	Elf64_Ehdr ehdr;
	struct gs_error *err = gs_core_read(core, 0, &ehdr, sizeof(ehdr), "the ELF header");

	if (!err)
		err = check_header(&ehdr);
	if (!err)
		err = count_segments(core, &ehdr, &count);
	if (err)
		return err;

	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return &gs_enomem;
	err = add_segments(core, &ehdr, count, mem, &summary);
	if (err)
		return err;
	if (summary.loads == 0)
		return gs_error_create(GS_ERROR_TARGET,
				       "holds no memory: it has no PT_LOAD segment");
	if (summary.loads > 1 && !summary.any_phys)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is the core of a process, not of a kernel: its segments have no "
			"physical addresses");
	return gs_core_create(core, no_cleanup_ptr(mem), ret);
}
