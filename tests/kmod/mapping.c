// SPDX-License-Identifier: Apache-2.0
/* mmap(): real memory, RAM and nothing else, and only to be read. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

// A page of our own changes in the mapping as it is written.
static void shows_writes(int fd)
{
	uint64_t *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	volatile uint64_t *seen;
	bool same = true;

	if (own == MAP_FAILED)
		err(1, "mmap");
	own[0] = 1;
	seen = (volatile uint64_t *)range_map(fd, physical_address(own), PAGE);
	for (uint64_t i = 0; i < 100000; i++) {
		volatile uint64_t *word = own + i % 512;

		*word = i * 0x9e3779b97f4a7c15;
		same = same && seen[i % 512] == *word;
	}
	check(same, "100000 writes to a page of our own are seen through the device");
	munmap((void *)seen, PAGE);
	munmap(own, PAGE);
}

static void all_of_it(int fd)
{
	struct ram *ram = ram_list(fd);

	ram_map(fd, ram);
	// A page that cannot be read ends the program.
	ram_touch(ram);
	check(true, "all %" PRIu64 " MiB of RAM are mapped and each page is read",
	      ram_bytes(ram) >> 20);
	ram_free(ram);
}

// Two views of the same memory, of which a little changes between the two looks.
static bool same_bytes(const volatile uint8_t *one, const volatile uint8_t *other, uint64_t size)
{
	uint64_t differ = 0;

	for (uint64_t offset = 0; offset < size; offset += PAGE)
		differ += *(const volatile uint64_t *)(one + offset) !=
			  *(const volatile uint64_t *)(other + offset);
	return differ <= size / PAGE / 100;
}

// An address that no huge page fits, and a mapping of which parts go.
static void parts(int fd)
{
	struct ram *ram = ram_list(fd);
	const struct gpusentinel_range *range = &ram->ranges[ram->count - 1];
	uint64_t start = range->start, size = 3 * HUGE_PAGE;
	uint8_t *space = mmap(NULL, size + HUGE_PAGE + PAGE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *odd = (uint8_t *)(((uintptr_t)space & -HUGE_PAGE) + HUGE_PAGE + PAGE);

	ram_map(fd, ram);
	ram_touch(ram);
	if (space == MAP_FAILED ||
	    mmap(odd, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, start) != odd)
		err(1, "mmap");
	check(same_bytes(odd, ram->at[ram->count - 1], size), "at an odd address the same is read");
	check(!munmap(odd + HUGE_PAGE, PAGE) && signal_of_read(odd + HUGE_PAGE) == SIGSEGV &&
		      !signal_of_read(odd + HUGE_PAGE - 1) &&
		      !signal_of_read(odd + HUGE_PAGE + PAGE),
	      "a page in the middle is unmapped, its neighbours are not");
	munmap((void *)(ram->at[ram->count - 1] + HUGE_PAGE + PAGE), PAGE);
	check(signal_of_read(ram->at[ram->count - 1] + HUGE_PAGE + PAGE) == SIGSEGV &&
		      !signal_of_read(ram->at[ram->count - 1] + HUGE_PAGE) &&
		      !signal_of_read(ram->at[ram->count - 1] + HUGE_PAGE + 2 * PAGE),
	      "a page of a block of 2 MiB is unmapped, its neighbours are not");
	ram_free(ram);
	munmap(space, size + HUGE_PAGE + PAGE);
}

// Some kernels have none then.
static void without_huge_pages(int fd)
{
	const char *path = "/sys/kernel/mm/transparent_hugepage/enabled";
	int setting = open(path, O_WRONLY | O_CLOEXEC);
	struct ram *huge = ram_list(fd), *small = ram_list(fd);
	unsigned int last = huge->count - 1;
	long tables;
	bool same;

	ram_map(fd, huge);
	ram_touch(huge);
	if (setting < 0 || write(setting, "never", 5) != 5)
		err(1, "%s", path);
	tables = field("/proc/self/status", "VmPTE");
	ram_map(fd, small);
	same = same_bytes(small->at[last], huge->at[last], huge->ranges[last].size);
	tables = field("/proc/self/status", "VmPTE") - tables;
	check(same, "with transparent_hugepage=never the same is read (VmPTE: %+ld KiB)", tables);
	if (write(setting, "always", 6) != 6)
		err(1, "%s", path);
	close(setting);
	ram_free(huge);
	ram_free(small);
}

static void no_ram(int fd, uint64_t start, uint64_t size, const char *what)
{
	refused((long)mmap(NULL, size, PROT_READ, MAP_SHARED, fd, start), ENXIO, "%s: %#" PRIx64,
		what, start);
}

static void ram_alone(int fd)
{
	struct ram *ram = ram_list(fd);
	const struct gpusentinel_range *first = &ram->ranges[0],
				       *last = &ram->ranges[ram->count - 1];
	uint64_t end = last->start + last->size;

	no_ram(fd, 0, PAGE, "the page at 0, which is reserved");
	no_ram(fd, first->start - PAGE, 2 * PAGE, "a range that begins before RAM");
	no_ram(fd, 0xb8000, PAGE, "a graphics card's memory");
	no_ram(fd, 0xf0000, PAGE, "the firmware's memory");
	no_ram(fd, 0xfee00000, PAGE, "the local APIC");
	no_ram(fd, end, PAGE, "the page behind RAM");
	no_ram(fd, end - PAGE, 2 * PAGE, "a range that ends behind RAM");
	no_ram(fd, 1UL << 40, HUGE_PAGE, "far behind RAM");
	no_ram(fd, 1UL << 62, HUGE_PAGE, "no physical address");
	if (ram->count > 1)
		no_ram(fd, first->start, last->start - first->start + PAGE, "a range with a hole");
	munmap((void *)range_map(fd, end - PAGE, PAGE), PAGE);
	check(true, "the last page of RAM can be mapped");
	ram_free(ram);
}

static void read_only(int fd)
{
	struct ram *ram = ram_list(fd);
	uint64_t start = ram->ranges[ram->count - 1].start;
	void *at = (void *)range_map(fd, start, HUGE_PAGE), *moved;
	void *space = mmap(NULL, HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	refused((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, start), EINVAL, "MAP_PRIVATE");
	// open() for reading alone, which the kernel itself looks at.
	refused((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start), EACCES,
		"PROT_WRITE");
	refused((long)mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, fd, start), EPERM,
		"PROT_WRITE, private");
	refused((long)mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, start), EPERM,
		"PROT_EXEC");
	refused(mprotect(at, PAGE, PROT_READ | PROT_WRITE), EACCES, "mprotect() to PROT_WRITE");
	refused(mprotect(at, PAGE, PROT_READ | PROT_EXEC), EACCES, "mprotect() to PROT_EXEC");
	check(!mprotect(at, HUGE_PAGE, PROT_NONE) && signal_of_read(at) == SIGSEGV,
	      "mprotect() to PROT_NONE: SIGSEGV");
	refused(mprotect(at, PAGE, PROT_WRITE), EACCES, "from there to PROT_WRITE");
	check(!mprotect(at, HUGE_PAGE, PROT_READ) && !signal_of_read(at), "and back to PROT_READ");
	munmap(at, HUGE_PAGE);
	at = mmap(NULL, HUGE_PAGE, PROT_NONE, MAP_SHARED, fd, start);
	check(at != MAP_FAILED && signal_of_read(at) == SIGSEGV && !mprotect(at, PAGE, PROT_READ) &&
		      !signal_of_read(at) && signal_of_read((char *)at + PAGE) == SIGSEGV,
	      "mapped with PROT_NONE, and a page of it let be read");
	munmap(at, HUGE_PAGE);
	at = (void *)range_map(fd, start, HUGE_PAGE);

	refused((long)mremap(at, HUGE_PAGE, 2 * HUGE_PAGE, MREMAP_MAYMOVE), EFAULT,
		"mremap() to more");
	// By the size of 0, a shared mapping is had twice.
	moved = mremap(at, 0, HUGE_PAGE, MREMAP_MAYMOVE);
	check(moved == MAP_FAILED, "mremap() to a second mapping is refused");
	moved = mremap(at, HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, space);
	check(moved != MAP_FAILED && !signal_of_read(moved), "mremap() to elsewhere is allowed");
	refused(madvise(moved, HUGE_PAGE, MADV_DOFORK), EINVAL, "madvise(MADV_DOFORK)");
	refused(madvise(moved, HUGE_PAGE, MADV_DODUMP), EINVAL, "madvise(MADV_DODUMP)");
	munmap(moved, HUGE_PAGE);
	ram_free(ram);
	refused(open(DEVICE, O_RDWR), EACCES, "open() to read and write");
	refused(open(DEVICE, O_WRONLY), EACCES, "open() to write");
}

void check_mapping(void)
{
	int fd = device_open();

	shows_writes(fd);
	all_of_it(fd);
	parts(fd);
	without_huge_pages(fd);
	ram_alone(fd);
	read_only(fd);
	close(fd);
}
