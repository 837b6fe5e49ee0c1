// SPDX-License-Identifier: Apache-2.0
#include "cli/protect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"

enum { PAGE = 4096 };

static bool capable(unsigned int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	return !syscall(SYS_capget, &header, data) &&
	       data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

// Locking what is to come under a limit would make later allocations fail, the driver's among them.
static bool may_lock(void)
{
	struct rlimit limit;

	return capable(CAP_IPC_LOCK) ||
	       (!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur == RLIM_INFINITY);
}

static bool lock_memory(const struct gs_segment *segments, size_t count)
{
	// Never without MCL_ONFAULT: filling the holes of the target's memory would allocate it.
	if (!may_lock() || mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		return false;
	// What is read of a guest or of a core stays as movable as its owner wants it. Not worth failing for.
	for (size_t i = 0; i < count; i++) {
		uintptr_t begin = (uintptr_t)segments[i].host & ~(uintptr_t)(PAGE - 1);
		uintptr_t end = (uintptr_t)segments[i].host + segments[i].size;

		munlock((void *)begin, end - begin);
	}
	return true;
}

static bool exempt_from_oom(void)
{
	static const char never[] = "-1000";
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, never, strlen(never)) == (ssize_t)strlen(never);
}

struct gs_error *protect_process(const struct gs_segment *segments, size_t count)
{
	bool locked = lock_memory(segments, count), exempt = exempt_from_oom();

	if (locked && exempt)
		return NULL;
	return gs_error_create(
		GS_ERROR_OTHER,
		"when memory runs out here, this process may be %s%s%s: run it as root, or give it %s%s%s",
		locked ? "" : "swapped out", !locked && !exempt ? " or " : "",
		exempt ? "" : "killed", locked ? "" : "CAP_IPC_LOCK (ulimit -l unlimited)",
		!locked && !exempt ? " and " : "",
		exempt ? "" : "CAP_SYS_RESOURCE (choom -n -1000)");
}
