// SPDX-License-Identifier: GPL-2.0
/*
 * VMCOREINFO, as a dump of this kernel would have it. The variables behind it are not for modules, but the address of
 * its ELF note is.
 */
#include <linux/elf.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/string.h>
#ifdef HAVE_VMCORE_INFO
#include <linux/vmcore_info.h>
#else
#include <linux/crash_core.h>
#endif

#include "kmod.h"

int gs_vmcoreinfo_read(phys_addr_t *note, char *text, size_t capacity, size_t *size)
{
	const struct elf64_note *header;
	phys_addr_t phys = paddr_vmcoreinfo_note();
	size_t skip, length;

	/* Without an end of its own it is a string in any case. */
	if (!phys || capacity < 1)
		return -ENODATA;
	header = phys_to_virt(phys);
	if (header->n_namesz != sizeof(VMCOREINFO_NOTE_NAME) ||
	    memcmp(header + 1, VMCOREINFO_NOTE_NAME, sizeof(VMCOREINFO_NOTE_NAME)))
		return -ENODATA;
	skip = sizeof(*header) + ALIGN(header->n_namesz, 4);
	length = min_t(size_t, header->n_descsz, min_t(size_t, VMCOREINFO_MAX, capacity - 1));
	memcpy(text, (const char *)header + skip, length);
	text[length] = 0;
	*note = phys;
	*size = length;
	return 0;
}

u64 gs_vmcoreinfo_number(const char *text, const char *key)
{
	size_t length = strlen(key);
	const char *line = text;
	u64 number;

	while (line) {
		if (*line == '\n')
			line++;
		if (!strncmp(line, key, length) && sscanf(line + length, "=%llx", &number) == 1)
			return number;
		line = strchr(line, '\n');
	}
	return 0;
}
