// SPDX-License-Identifier: Apache-2.0
/* Who in the kernel takes references to pages of user space gets none of the mapping's. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

// The mapping's pages are touched, so all that looks at page tables alone would find them.
static void takers(volatile uint8_t *at, const char *what)
{
	struct io_uring_params params = {};
	struct iovec part = { (void *)at, PAGE };
	uint64_t word = 0;
	struct iovec local = { &word, 8 }, remote = { (void *)at, 8 };
	void *page = (void *)at;
	int status = 0, ends[2], ring;

	if (pipe(ends))
		err(1, "pipe");
	refused(vmsplice(ends[1], &part, 1, SPLICE_F_NONBLOCK), EFAULT, "%s: vmsplice()", what);
	refused(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), EFAULT,
		"%s: process_vm_readv()", what);
	refused(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), EFAULT,
		"%s: process_vm_writev()", what);
	refused(syscall(SYS_futex, at, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT, "%s: a shared futex",
		what);
	ring = syscall(SYS_io_uring_setup, 2, &params);
	if (ring >= 0) {
		refused(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &part, 1),
			EFAULT, "%s: a buffer for io_uring", what);
		close(ring);
	} else {
		skip("io_uring: %s", strerrorname_np(errno));
	}
	// Which node has the page?
	if (!syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0))
		check(status < 0, "%s: move_pages(): %s", what,
		      status < 0 ? strerrorname_np(-status) : "it tells the node");
	close(ends[0]);
	close(ends[1]);
}

// A file system that reads right from user space's pages does so by references. Its copy is of the same bytes otherwise.
static void write_from(volatile uint8_t *at)
{
	int ends[2];

	if (pipe(ends))
		err(1, "pipe");
	check(write(ends[1], (void *)at, PAGE) == (ssize_t)PAGE, "write() from the mapping copies");
	close(ends[0]);
	close(ends[1]);
}

void check_references(void)
{
	int fd = device_open();
	struct ram *ram = ram_list(fd);
	unsigned int last = ram->count - 1;
	volatile uint8_t *odd;
	uint64_t block;

	ram_map(fd, ram);
	ram_touch(ram);
	block = -(uintptr_t)ram->at[last] & (HUGE_PAGE - 1);
	takers(ram->at[last] + block, "a block of 2 MiB");
	odd = range_map(fd, ram->ranges[last].start + PAGE, PAGE);
	(void)*odd;
	takers(odd, "a page");
	write_from(odd);
	munmap((void *)odd, PAGE);
	ram_free(ram);
	close(fd);
}
