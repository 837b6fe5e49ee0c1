// SPDX-License-Identifier: Apache-2.0
#include "target/procmaps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

bool gs_vma_parse(const char *line, struct gs_vma *ret)
{
	uint64_t major, minor;
	char mode[4];

	if (!gs_parse_hex(&line, &ret->begin) || !gs_parse_skip(&line, "-") ||
	    !gs_parse_hex(&line, &ret->end) || !gs_parse_skip(&line, " "))
		return false;
	if (strnlen(line, sizeof(mode)) < sizeof(mode))
		return false;
	memcpy(mode, line, sizeof(mode));
	line += sizeof(mode);
	if (!gs_parse_skip(&line, " ") || !gs_parse_hex(&line, &ret->offset) ||
	    !gs_parse_skip(&line, " ") || !gs_parse_hex(&line, &major) ||
	    !gs_parse_skip(&line, ":") || !gs_parse_hex(&line, &minor) ||
	    !gs_parse_skip(&line, " ") || !gs_parse_decimal(&line, &ret->inode))
		return false;
	ret->shared = mode[3] == 's';
	ret->major = major;
	ret->minor = minor;
	return ret->begin < ret->end;
}

void gs_vmas_deinit(struct gs_vmas *vmas)
{
	free(vmas->vmas);
	*vmas = (struct gs_vmas){};
}

static struct gs_error *no_access(pid_t pid, int err)
{
	if (err == ENOENT || err == ESRCH)
		return gs_error_create(GS_ERROR_TARGET, "QEMU (process %d) is gone", pid);
	return gs_error_errno(
		GS_ERROR_TARGET, err,
		"may not look into QEMU (process %d); run as root or as the user of QEMU", pid);
}

static struct gs_error *read_lines(FILE *file, struct gs_vmas *vmas)
{
	_cleanup_free_ char *line = NULL;
	size_t len = 0;
	struct gs_vma vma;

	while (getline(&line, &len, file) > 0) {
		if (!gs_vma_parse(line, &vma))
			continue;
		if (!gs_array_push(vmas->vmas, vmas->count, vmas->capacity, vma))
			return &gs_enomem;
	}
	return NULL;
}

struct gs_error *gs_vmas_read(pid_t pid, struct gs_vmas *ret)
{
	char path[64] = "/proc/self/maps";
	struct gs_vmas vmas = {};

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/maps", pid);

	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		return no_access(pid, errno);

	struct gs_error *err = read_lines(file, &vmas);

	if (err) {
		gs_vmas_deinit(&vmas);
		return err;
	}
	*ret = vmas;
	return NULL;
}

const struct gs_vma *gs_vmas_find(const struct gs_vmas *vmas, uint64_t address)
{
	for (size_t i = 0; i < vmas->count; i++) {
		if (address >= vmas->vmas[i].begin && address < vmas->vmas[i].end)
			return &vmas->vmas[i];
	}
	return NULL;
}

// stat() gives another device number than maps on some file systems (btrfs subvolumes, overlayfs), so
// mappings are compared with mappings.
static bool same_file(int fd, const struct gs_vma *vma)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_ino != vma->inode ||
	    st.st_size == 0)
		return false;

	// A whole huge page, which is what hugetlbfs maps at least.
	size_t size = st.st_blksize;
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		return false;

	struct gs_vmas own = {};
	_cleanup_error_ struct gs_error *err = gs_vmas_read(0, &own);
	const struct gs_vma *found = err ? NULL : gs_vmas_find(&own, (uintptr_t)p);
	bool same = found && found->inode == vma->inode && found->major == vma->major &&
		    found->minor == vma->minor;

	munmap(p, size);
	gs_vmas_deinit(&own);
	return same;
}

// O_NONBLOCK: what is opened on suspicion may turn out to be a FIFO.
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int try_open(const char *path, const struct gs_vma *vma)
{
	int fd = open(path, OPEN_FLAGS);

	if (fd < 0)
		return -1;
	if (same_file(fd, vma))
		return fd;
	close(fd);
	errno = ESTALE;
	return -1;
}

static int open_descriptor(pid_t pid, const struct gs_vma *vma)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);

	_cleanup_closedir_ DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *number = entry->d_name;
		struct stat st;
		uint64_t n;

		if (!gs_parse_decimal(&number, &n) || n > INT32_MAX)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, (int)n);
		// Opening a device may do things: look before.
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
		    (uint64_t)st.st_ino != vma->inode)
			continue;

		int fd = try_open(path, vma);

		if (fd >= 0)
			return fd;
	}
	return -1;
}

struct gs_error *gs_vma_open(pid_t pid, const struct gs_vma *vma, int *ret)
{
	char path[96];
	int fd = open_descriptor(pid, vma);

	if (fd < 0) {
		// Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, hence second.
		snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid,
			 vma->begin, vma->end);
		fd = try_open(path, vma);
	}
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return no_access(pid, errno);
	if (fd < 0)
		return gs_error_errno(
			GS_ERROR_TARGET, errno,
			"cannot open the file that QEMU (process %d) has mapped at 0x%" PRIx64, pid,
			vma->begin);
	*ret = fd;
	return NULL;
}
