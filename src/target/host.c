// SPDX-License-Identifier: Apache-2.0
// This machine's own memory, from the kernel module (kmod/gpusentinel.h says what it gives).
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../kmod/gpusentinel.h"
#include "host/read.h"
#include "target/ops.h"
#include "target/sigbus.h"
#include "util/cleanup.h"

#define DEVICE "/dev/gpusentinel"
// GPUs and the kernel map in pieces of 2 MiB where addresses agree to that.
#define ALIGN (UINT64_C(2) << 20)
// Ranges of one machine; more are a module that does not know what it says.
#define RANGES_MAX 65536

struct host {
	int fd;
	uint64_t vmcoreinfo;
	// The target's, once there is one: it closes this before it frees them.
	struct gs_segment *segments;
	size_t count;
};

static bool locked_down(void)
{
	char mode[64];

	return host_lockdown("", mode, sizeof(mode)) && strcmp(mode, "none") != 0;
}

static struct gs_error *cannot_open(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return gs_error_create(
			GS_ERROR_TARGET,
			DEVICE " is not there: load the kernel module (modprobe gpusentinel; the "
			       "package gpusentinel-dkms has it)");
	case EBUSY:
		return gs_error_create(
			GS_ERROR_TARGET, DEVICE
			" is open in another process, and one at a time may watch: end that one first");
	case EPERM:
	case EACCES:
		if (locked_down())
			return gs_error_create(
				GS_ERROR_TARGET,
				"the kernel is locked down (/sys/kernel/security/lockdown), so nobody "
				"may read its memory: boot without lockdown");
		return gs_error_create(GS_ERROR_TARGET, "not allowed to open " DEVICE
							": it is for root, with CAP_SYS_RAWIO");
	default:
		return gs_error_errno(GS_ERROR_TARGET, error, "cannot open " DEVICE);
	}
}

static struct gs_error *ask_info(struct host *host)
{
	struct gpusentinel_info info = {};

	if (ioctl(host->fd, GPUSENTINEL_IOC_INFO, &info) < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno,
				      DEVICE " does not answer as the module gpusentinel does");
	if (info.abi != GPUSENTINEL_ABI)
		return gs_error_create(
			GS_ERROR_TARGET,
			"the module gpusentinel that is loaded has interface %u, and this program "
			"knows %u: install both from one release, and load the module anew",
			info.abi, GPUSENTINEL_ABI);
	host->vmcoreinfo = info.vmcoreinfo;
	return NULL;
}

static struct gs_error *check_ranges(const struct gpusentinel_range *ranges, size_t count)
{
	uint64_t behind = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t end;

		if (ranges[i].start % GS_PAGE_SIZE || ranges[i].size % GS_PAGE_SIZE ||
		    !ranges[i].size || ranges[i].start < behind ||
		    __builtin_add_overflow(ranges[i].start, ranges[i].size, &end) ||
		    end > GS_PHYS_MAX)
			return gs_error_create(
				GS_ERROR_TARGET,
				DEVICE ": range %zu of memory makes no sense: 0x%" PRIx64
				       " bytes at "
				       "0x%" PRIx64,
				i, (uint64_t)ranges[i].size, (uint64_t)ranges[i].start);
		behind = end;
	}
	return NULL;
}

// The ranges of RAM, in an array that the caller frees.
static struct gs_error *ask_ranges(const struct host *host, struct gpusentinel_range **ret,
				   size_t *count_ret)
{
	_cleanup_free_ struct gpusentinel_range *ranges = calloc(RANGES_MAX, sizeof(*ranges));
	struct gpusentinel_map map = { .ranges = (uintptr_t)ranges, .capacity = RANGES_MAX };

	if (!ranges)
		return &gs_enomem;
	if (ioctl(host->fd, GPUSENTINEL_IOC_MAP, &map) < 0)
		return errno == EAGAIN
			       ? gs_error_create(
					 GS_ERROR_TARGET,
					 "some of this machine's memory is being taken offline: try again "
					 "when that is over")
			       : gs_error_errno(GS_ERROR_TARGET, errno,
						DEVICE " does not tell the memory that there is");
	if (map.count == 0 || map.count > RANGES_MAX)
		return gs_error_create(GS_ERROR_TARGET,
				       DEVICE ": %u ranges of memory make no sense", map.count);

	struct gs_error *err = check_ranges(ranges, map.count);

	if (err)
		return err;
	*count_ret = map.count;
	*ret = no_cleanup_ptr(ranges);
	return NULL;
}

// At an address that is as far from a multiple of 2 MiB as the physical one is.
static struct gs_error *map_range(struct host *host, const struct gpusentinel_range *range)
{
	size_t reserved = range->size + ALIGN;
	uint8_t *area =
		mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return gs_error_errno(GS_ERROR_TARGET, errno,
				      "no addresses for 0x%" PRIx64 " bytes of memory",
				      (uint64_t)range->size);

	uint8_t *at = area + ((range->start - (uintptr_t)area) & (ALIGN - 1));
	int error = 0;

	if (mmap(at, range->size, PROT_READ, MAP_SHARED | MAP_FIXED, host->fd,
		 (off_t)range->start) == MAP_FAILED)
		error = errno;
	if (error) {
		munmap(area, reserved);
		return gs_error_errno(GS_ERROR_TARGET, error,
				      "cannot map 0x%" PRIx64
				      " bytes of memory at physical address 0x%" PRIx64,
				      (uint64_t)range->size, (uint64_t)range->start);
	}
	if (at > area)
		munmap(area, at - area);
	if (at + range->size < area + reserved)
		munmap(at + range->size, area + reserved - (at + range->size));
	gs_sigbus_remember(at, range->size, "host");
	host->segments[host->count++] =
		(struct gs_segment){ .phys = range->start, .size = range->size, .host = at };
	return NULL;
}

static void host_close(void *self)
{
	struct host *host = self;

	for (size_t i = 0; host->segments && i < host->count; i++) {
		gs_sigbus_forget(host->segments[i].host);
		munmap((void *)host->segments[i].host, host->segments[i].size);
	}
	if (host->fd >= 0)
		close(host->fd);
	free(host);
}

// RAM is there, all of it.
static bool host_fault(void *self, size_t index, uint64_t page)
{
	(void)self;
	(void)index;
	(void)page;
	return true;
}

static bool host_next(void *self, size_t index, uint64_t page, uint64_t limit, uint64_t *begin,
		      uint64_t *end)
{
	(void)self;
	(void)index;
	if (page >= limit)
		return false;
	*begin = page;
	*end = limit;
	return true;
}

static uint64_t host_note(void *self)
{
	return ((struct host *)self)->vmcoreinfo;
}

static const struct gs_target_ops host_ops = {
	.fault = host_fault,
	.next = host_next,
	.in_place = true,
	.io_memory = true,
	.note = host_note,
	.close = host_close,
};

static struct gs_error *open_all(struct host *host)
{
	_cleanup_free_ struct gpusentinel_range *ranges = NULL;
	size_t count = 0;
	struct gs_error *err = ask_info(host);

	if (!err)
		err = ask_ranges(host, &ranges, &count);
	if (err)
		return err;
	host->segments = calloc(count, sizeof(*host->segments));
	if (!host->segments)
		return &gs_enomem;
	for (size_t i = 0; i < count && !err; i++)
		err = map_range(host, &ranges[i]);
	return err;
}

struct gs_error *gs_host_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret)
{
	struct gs_error *err = NULL;

	if (*rest)
		return gs_error_create(GS_ERROR_USAGE,
				       "host is this machine, and takes nothing behind it");
	if (gs_target_layout(options))
		return gs_error_create(GS_ERROR_USAGE,
				       "a layout is for raw images; this machine's is known");

	struct host *host = calloc(1, sizeof(*host));

	if (!host)
		return &gs_enomem;
	host->fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
	err = host->fd < 0 ? cannot_open(errno) : open_all(host);
	if (err) {
		struct gs_segment *segments = host->segments;

		host_close(host);
		free(segments);
		return err;
	}
	return gs_target_create(&host_ops, host, host->segments, host->count, ret);
}
