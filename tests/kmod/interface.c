// SPDX-License-Identifier: Apache-2.0
/* The ioctls, against what the kernel says of itself elsewhere. */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define KERNEL_MAP 0xffffffff80000000UL

// The ranges of /proc/iomem of a name, in whole pages; how many.
static unsigned int iomem(const char *name, struct gpusentinel_range *ranges, unsigned int capacity)
{
	char *text = file_text("/proc/iomem"), *save, *at;
	unsigned int count = 0;
	uint64_t first, last;
	char each[128];

	for (at = strtok_r(text, "\n", &save); at && count < capacity;
	     at = strtok_r(NULL, "\n", &save)) {
		if (sscanf(at, " %" SCNx64 "-%" SCNx64 " : %127[^\n]", &first, &last, each) != 3 ||
		    strcmp(each, name))
			continue;
		first = (first + PAGE - 1) & -PAGE;
		last = (last + 1) & -PAGE;
		if (first >= last)
			continue;
		ranges[count].start = first;
		ranges[count++].size = last - first;
	}
	free(text);
	return count;
}

static void ranges_as_iomem(int fd)
{
	struct gpusentinel_range want[256];
	unsigned int count = iomem("System RAM", want, 256), i;
	struct ram *ram = ram_list(fd);

	for (i = 0; i < count && i < ram->count; i++)
		if (want[i].start != ram->ranges[i].start || want[i].size != ram->ranges[i].size)
			break;
	check(i == count && count == ram->count && count > 0,
	      "the map is the System RAM of /proc/iomem: %u ranges, %u there, %u the same",
	      ram->count, count, i);
	ram_free(ram);
}

static void truncated(int fd)
{
	struct gpusentinel_range ranges[3];
	struct gpusentinel_map map = { .ranges = (uintptr_t)ranges, .capacity = 1 };
	struct gpusentinel_map none = { .capacity = 0 };
	char text[16];
	bool done;
	struct gpusentinel_text part = { .text = (uintptr_t)text, .capacity = 8 };

	memset(ranges, 0xa5, sizeof(ranges));
	memset(text, 0x5a, sizeof(text));
	done = !ioctl(fd, GPUSENTINEL_IOC_MAP, &map);
	check(done && map.count > 1 && ranges[0].size != 0xa5a5a5a5a5a5a5a5 &&
		      ranges[1].start == 0xa5a5a5a5a5a5a5a5,
	      "a capacity of 1: one range written, all %u counted", map.count);
	done = !ioctl(fd, GPUSENTINEL_IOC_MAP, &none);
	check(done && none.count == map.count && none.generation == map.generation,
	      "a capacity of 0: counted all the same");
	done = !ioctl(fd, GPUSENTINEL_IOC_VMCOREINFO, &part);
	check(done && part.size > 100 && !strncmp(text, "OSRELEAS", 8) && text[8] == 0x5a,
	      "the text cut at 8 of %u bytes", part.size);
}

static void bad_pointers(int fd)
{
	void *bad = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct gpusentinel_map map = { .ranges = (uintptr_t)bad, .capacity = 16 };
	struct gpusentinel_map kernel = { .ranges = 0xffff888000000000, .capacity = 16 };
	struct gpusentinel_map huge = { .ranges = (uintptr_t)bad, .capacity = UINT32_MAX };
	struct gpusentinel_text text = { .text = (uintptr_t)bad, .capacity = 4096 };

	refused(ioctl(fd, GPUSENTINEL_IOC_INFO, bad), EFAULT, "info to a bad pointer");
	refused(ioctl(fd, GPUSENTINEL_IOC_INFO, NULL), EFAULT, "info to NULL");
	refused(ioctl(fd, GPUSENTINEL_IOC_MAP, bad), EFAULT, "map by a bad pointer");
	refused(ioctl(fd, GPUSENTINEL_IOC_MAP, &map), EFAULT, "ranges to a bad pointer");
	refused(ioctl(fd, GPUSENTINEL_IOC_MAP, &kernel), EFAULT, "ranges to the kernel's memory");
	refused(ioctl(fd, GPUSENTINEL_IOC_MAP, &huge), EFAULT,
		"as many ranges as 32 bits count to a bad pointer");
	refused(ioctl(fd, GPUSENTINEL_IOC_VMCOREINFO, bad), EFAULT, "text by a bad pointer");
	refused(ioctl(fd, GPUSENTINEL_IOC_VMCOREINFO, &text), EFAULT, "text to a bad pointer");
	refused(ioctl(fd, _IO('S', 0xaf)), ENOTTY, "an ioctl that there is not");
	refused(ioctl(fd, _IOR('S', 0xa0, int), bad), ENOTTY, "an ioctl of another size");
	refused(ioctl(fd, TCGETS, bad), ENOTTY, "a terminal's ioctl");
	refused(read(fd, &map, 1), EINVAL, "read()");
	munmap(bad, PAGE);
}

// As /proc/kcore has it; NULL if there is none.
static char *kcore_vmcoreinfo(void)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	Elf64_Phdr notes = {};
	Elf64_Ehdr header;
	char *found = NULL, *data;

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return NULL;
	for (int i = 0; i < header.e_phnum && notes.p_type != PT_NOTE; i++)
		if (pread(fd, &notes, sizeof(notes), header.e_phoff + i * sizeof(notes)) !=
		    sizeof(notes))
			return NULL;
	if (notes.p_type != PT_NOTE || !(data = calloc(1, notes.p_filesz + 1)) ||
	    pread(fd, data, notes.p_filesz, notes.p_offset) != (ssize_t)notes.p_filesz)
		return NULL;
	for (size_t at = 0; !found && at + sizeof(Elf64_Nhdr) < notes.p_filesz;) {
		const Elf64_Nhdr *note = (const void *)(data + at);
		size_t name = at + sizeof(*note), desc = name + ((note->n_namesz + 3) & ~3U);

		at = desc + ((note->n_descsz + 3) & ~3U);
		if (at <= notes.p_filesz && !strcmp(data + name, "VMCOREINFO"))
			found = strndup(data + desc, note->n_descsz);
	}
	free(data);
	close(fd);
	return found;
}

// A virtual address by the kernel's own page tables; 0 if it is not there.
static uint64_t translate(const struct ram *ram, const struct gpusentinel_info *info,
			  uint64_t virtual)
{
	uint64_t table = info->page_table_root;

	for (int level = info->page_table_levels; level > 0; level--) {
		int shift = 12 + 9 * (level - 1);
		const volatile uint64_t *entries = ram_at(ram, table);
		uint64_t entry = entries ? entries[virtual >> shift & 511] : 0;

		if (!(entry & 1))
			return 0;
		table = entry & 0x000ffffffffff000;
		if (level == 1 || (level <= 3 && entry & 1 << 7))
			return (table & -(1UL << shift)) | (virtual & ((1UL << shift) - 1));
	}
	return 0;
}

static bool same_text(const struct ram *ram, uint64_t physical, const char *text)
{
	const volatile char *at = physical ? ram_at(ram, physical) : NULL;

	for (size_t i = 0; at && text[i]; i++)
		if (at[i] != text[i])
			return false;
	return at;
}

static void info_is_true(int fd, struct ram *ram)
{
	struct gpusentinel_info info;
	uint64_t banner = kernel_symbol("linux_banner"), text = kernel_symbol("_text"), address = 0;
	char *cpu = file_text("/proc/cpuinfo"), *version = file_text("/proc/version");
	char *vmcoreinfo = device_vmcoreinfo(fd), *kcore = kcore_vmcoreinfo();
	char *where = file_text("/sys/kernel/vmcoreinfo");
	struct gpusentinel_range code;
	bool done;

	memset(&info, 0xff, sizeof(info));
	done = !ioctl(fd, GPUSENTINEL_IOC_INFO, &info);
	check(done && info.abi == GPUSENTINEL_ABI && !info.reserved, "info: abi %u", info.abi);
	check(info.page_table_levels == (strstr(cpu, " la57") ? 5 : 4), "%u levels of page tables",
	      info.page_table_levels);
	check(iomem("Kernel code", &code, 1) == 1 &&
		      code.start == text - KERNEL_MAP + info.phys_base,
	      "phys_base %#" PRIx64 ": the kernel's code is where /proc/iomem has it",
	      (uint64_t)info.phys_base);
	check(same_text(ram, banner - KERNEL_MAP + info.phys_base, version),
	      "by phys_base, linux_banner reads as /proc/version");
	check(same_text(ram, translate(ram, &info, banner), version),
	      "by the page tables at %#" PRIx64 ", linux_banner reads as /proc/version",
	      (uint64_t)info.page_table_root);
	check(!translate(ram, &info, 0xffff700000000000), "the page tables have holes");

	sscanf(where, "%" SCNx64, &address);
	check(info.vmcoreinfo == address && address,
	      "VMCOREINFO is at %#" PRIx64 ", as /sys/kernel/vmcoreinfo says",
	      (uint64_t)info.vmcoreinfo);
	check(strlen(vmcoreinfo) == info.vmcoreinfo_size && strstr(vmcoreinfo, "\nPAGESIZE=4096\n"),
	      "its text has %u bytes", info.vmcoreinfo_size);
	check(same_text(ram, address + 24, vmcoreinfo), "and is what is in memory there");
	if (kcore)
		check(!strcmp(kcore, vmcoreinfo), "and what /proc/kcore has");
	else
		skip("/proc/kcore");
	free(cpu);
	free(version);
	free(vmcoreinfo);
	free(kcore);
	free(where);
}

void check_interface(void)
{
	int fd = device_open();
	struct ram *ram = ram_list(fd);

	ram_map(fd, ram);
	ranges_as_iomem(fd);
	truncated(fd);
	bad_pointers(fd);
	info_is_true(fd, ram);
	ram_free(ram);
	close(fd);
}
