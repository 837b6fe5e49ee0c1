// SPDX-License-Identifier: Apache-2.0
/* All RAM mapped and touched: no page is taken, referenced, locked or pinned, and the kernel's counters do not move. */
#include <err.h>
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
// What may come and go in a guest that does little, in KiB.
#define NOISE 2048

struct sums {
	// Page tables are of the process, not of what it maps.
	long free, available;
	long mlocked, unevictable;
	long locked, pinned, resident, tables;
};

static struct sums sums(void)
{
	const char *all = "/proc/meminfo", *own = "/proc/self/status";
	long tables = field(all, "PageTables");

	return (struct sums){
		.free = field(all, "MemFree") + tables,
		.available = field(all, "MemAvailable") + tables,
		.mlocked = field(all, "Mlocked"),
		.unevictable = field(all, "Unevictable"),
		.locked = field(own, "VmLck"),
		.pinned = field(own, "VmPin"),
		.resident = field(own, "VmRSS"),
		.tables = field(own, "VmPTE"),
	};
}

// The number of mappings of each page, from the first to the last of RAM.
static uint64_t *map_counts(const struct ram *ram, uint64_t *pages)
{
	uint64_t end = ram->ranges[ram->count - 1].start + ram->ranges[ram->count - 1].size;
	int fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	uint64_t *counts = calloc(end / PAGE, 8);

	if (fd < 0 || !counts)
		err(1, "/proc/kpagecount");
	*pages = end / PAGE;
	for (size_t at = 0; at < *pages * 8;) {
		ssize_t part = pread(fd, (char *)counts + at, *pages * 8 - at, at);

		if (part <= 0)
			err(1, "/proc/kpagecount at %zu", at);
		at += part;
	}
	close(fd);
	return counts;
}

static uint64_t number_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 0) : 0;
}

// References of each page of RAM, from the kernel's struct page of it, by the device. NULL: VMCOREINFO does not lead there.
static int *reference_counts(int fd, const struct ram *ram, uint64_t *pages)
{
	char *text = device_vmcoreinfo(fd);
	uint64_t size = number_of(text, "\nSIZE(page)="),
		 offset = number_of(text, "\nOFFSET(page._refcount)="),
		 variable = kernel_symbol("vmemmap_base"), root, base, end;
	struct gpusentinel_info info;
	const volatile uint64_t *value;
	int *counts;

	free(text);
	if (!size || !offset || !variable || ioctl(fd, GPUSENTINEL_IOC_INFO, &info) ||
	    !(value = ram_at(ram, variable - KERNEL_MAP + info.phys_base)))
		return NULL;
	base = *value;
	root = info.page_table_root;
	end = ram->ranges[ram->count - 1].start + ram->ranges[ram->count - 1].size;
	*pages = end / PAGE;
	counts = malloc(*pages * sizeof(*counts));
	if (!counts)
		err(1, "counts");
	for (uint64_t pfn = 0; pfn < *pages; pfn++) {
		const volatile int *count = NULL;
		uint64_t at = base + pfn * size + offset, table = root;

		for (int level = info.page_table_levels; level > 0; level--) {
			int shift = 12 + 9 * (level - 1);
			const volatile uint64_t *entries = ram_at(ram, table);
			uint64_t entry = entries ? entries[at >> shift & 511] : 0;

			if (!(entry & 1))
				break;
			table = entry & 0x000ffffffffff000;
			if (level == 1 || entry & 1 << 7) {
				table &= -(1UL << shift);
				count = ram_at(ram, table | (at & ((1UL << shift) - 1)));
				break;
			}
		}
		counts[pfn] = count ? *count : 0;
	}
	return counts;
}

static bool few(uint64_t changed, uint64_t pages)
{
	return changed <= pages / 100;
}

static void pages_are_left_alone(int fd, struct ram *ram)
{
	uint64_t pages, maps = 0, references = 0, used = 0;
	uint64_t *before = map_counts(ram, &pages), *after;
	int *taken, *now;

	ram_map(fd, ram);
	taken = reference_counts(fd, ram, &pages);
	ram_touch(ram);
	after = map_counts(ram, &pages);
	for (uint64_t i = 0; i < pages; i++)
		maps += before[i] != after[i];
	check(few(maps, pages), "/proc/kpagecount: %" PRIu64 " of %" PRIu64 " pages have changed",
	      maps, pages);
	now = taken ? reference_counts(fd, ram, &pages) : NULL;
	for (uint64_t i = 0; now && i < pages; i++) {
		references += taken[i] != now[i];
		used += now[i] > 0;
	}
	if (now)
		check(few(references, pages) && used > pages / 100,
		      "references: of %" PRIu64 " pages, %" PRIu64 " are in use, and %" PRIu64
		      " have more or fewer than before",
		      pages, used, references);
	else
		skip("references of pages: struct page is not to be found");
	free(before);
	free(after);
	free(taken);
	free(now);
	ram_unmap(ram);
}

static void sums_stay(int fd, struct ram *ram)
{
	struct sums before, control, with, after;
	long diff = 0, idle = 0;

	// Another process may take memory meanwhile: what counts is that it is not the mapping.
	for (int attempt = 0; attempt < 5; attempt++) {
		before = sums();
		control = sums();
		ram_map(fd, ram);
		ram_touch(ram);
		with = sums();
		ram_unmap(ram);
		after = sums();
		diff = with.free - control.free;
		idle = control.free - before.free;
		if (labs(diff) <= NOISE && labs(with.available - control.available) <= NOISE &&
		    labs(after.free - control.free) <= NOISE)
			break;
	}
	check(labs(diff) <= NOISE,
	      "MemFree and page tables: %+ld KiB of %" PRIu64 " MiB (idle: %+ld)", diff,
	      ram_bytes(ram) >> 20, idle);
	check(labs(with.available - control.available) <= NOISE, "MemAvailable: %+ld KiB",
	      with.available - control.available);
	check(labs(after.free - control.free) <= NOISE, "MemFree after munmap(): %+ld KiB",
	      after.free - control.free);
	check(with.mlocked == control.mlocked && with.unevictable == control.unevictable,
	      "Mlocked and Unevictable: %ld and %ld KiB, as before", with.mlocked,
	      with.unevictable);
	check(!with.locked && !with.pinned, "VmLck and VmPin are 0");
	check(with.resident - control.resident <= NOISE, "VmRSS: %+ld KiB",
	      with.resident - control.resident);
	// Without huge pages, 8 bytes a page.
	if (huge_pages)
		check(with.tables - control.tables <= 64, "VmPTE: %+ld KiB, by huge pages",
		      with.tables - control.tables);
	else
		check(with.tables - control.tables <= (long)(ram_bytes(ram) >> 19) + 64,
		      "VmPTE: %+ld KiB", with.tables - control.tables);
}

// A program that watches has all that it maps locked.
static void locked(int fd, struct ram *ram)
{
	long mlocked, now, pages;

	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		err(1, "mlockall");
	mlocked = field("/proc/meminfo", "Mlocked");
	pages = field("/proc/self/status", "VmLck");
	ram_map(fd, ram);
	ram_touch(ram);
	now = field("/proc/meminfo", "Mlocked");
	check(labs(now - mlocked) <= NOISE && field("/proc/self/status", "VmLck") - pages <= NOISE,
	      "with mlockall(), Mlocked: %+ld KiB, VmLck: %+ld KiB", now - mlocked,
	      field("/proc/self/status", "VmLck") - pages);
	ram_unmap(ram);
	munlockall();
}

void check_accounting(void)
{
	int fd = device_open();
	struct ram *ram = ram_list(fd);

	pages_are_left_alone(fd, ram);
	sums_stay(fd, ram);
	locked(fd, ram);
	ram_free(ram);
	close(fd);
}
