// SPDX-License-Identifier: Apache-2.0
// leak WHAT MIB-A-SECOND SECONDS: in a guest, take memory of one kind at an even pace, and keep it until killed. Static, since
// a guest has no libraries.
#include <linux/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	MIB = 1 << 20,
	STEPS_A_SECOND = 10,
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

static void leak_rss(size_t bytes)
{
	memset(map(bytes), 0x5a, bytes);
}

// A socket takes about a KiB of a cache, and its inode another one.
static void leak_slab(size_t bytes)
{
	for (size_t done = 0; done < bytes; done += 2048) {
		if (socket(AF_UNIX, SOCK_DGRAM, 0) < 0)
			fail("socket");
	}
}

static void leak_vmalloc(size_t bytes)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = PAGE,
		.max_entries = bytes / PAGE,
	};

	if (syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)) < 0)
		fail("bpf");
}

// A page in every 2 MiB: a page table for each.
static void leak_pagetables(size_t bytes)
{
	size_t stride = 2 << 20, count = bytes / PAGE;
	char *p = map(count * stride);

	// Reading gives the zero page, and a table.
	for (size_t i = 0; i < count; i++)
		*(volatile char *)(p + i * stride);
}

static void *sleep_for_ever(void *arg)
{
	pause();
	return arg;
}

static void leak_stacks(size_t bytes)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	for (size_t done = 0; done < bytes; done += 16384) {
		if (pthread_create(&thread, &attr, sleep_for_ever, NULL))
			fail("pthread_create");
	}
}

static void leak_swap(size_t bytes)
{
	char *p = map(bytes);

	memset(p, 0x5a, bytes);
	if (madvise(p, bytes, MADV_PAGEOUT))
		fail("madvise");
}

// Memory of which one page in three is kept. Few blocks of 32 KiB are left of it, until the kernel moves pages together.
static void fragment(size_t bytes)
{
	char *p = map(bytes);

	memset(p, 0x5a, bytes);
	for (size_t at = 0; at + 3 * PAGE <= bytes; at += 3 * PAGE) {
		if (madvise(p + at + PAGE, 2 * PAGE, MADV_DONTNEED))
			fail("madvise");
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*take)(size_t bytes);
	} kinds[] = {
		{ "rss", leak_rss },	     { "slab", leak_slab },
		{ "vmalloc", leak_vmalloc }, { "pagetables", leak_pagetables },
		{ "stacks", leak_stacks },   { "swap", leak_swap },
		{ "fragment", fragment },
	};
	struct rlimit files = { 1 << 20, 1 << 20 };
	struct rlimit memory = { RLIM_INFINITY, RLIM_INFINITY };

	if (argc != 4) {
		fprintf(stderr,
			"usage: leak rss|slab|vmalloc|pagetables|stacks|swap|fragment MIB SECONDS\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	// Maps of BPF count as locked memory before v5.11.
	setrlimit(RLIMIT_MEMLOCK, &memory);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, argv[1]))
			continue;

		size_t bytes = strtoul(argv[2], NULL, 10) * MIB;
		unsigned long seconds = strtoul(argv[3], NULL, 10);

		for (unsigned long step = 0; step < seconds * STEPS_A_SECOND; step++) {
			kinds[i].take(bytes / STEPS_A_SECOND);
			usleep(1000000 / STEPS_A_SECOND);
		}
		if (kinds[i].take == fragment)
			fragment(bytes);
		pause();
	}
	return 2;
}
