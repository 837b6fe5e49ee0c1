// SPDX-License-Identifier: Apache-2.0
#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/text.h"

static struct gs_error *exists_error(const char *path)
{
	return gs_error_create(GS_ERROR_OTHER, "%s exists; --force replaces it", path);
}

struct gs_error *outfile_check(const char *path, bool force)
{
	return force || access(path, F_OK) ? NULL : exists_error(path);
}

struct gs_error *outfile_move(const char *temporary, const char *path, bool force)
{
	int failed = renameat2(AT_FDCWD, temporary, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE);

	// Not every file system knows the flag (renameat2(2)); there the check above must do.
	if (failed && errno == EINVAL && !force && access(path, F_OK))
		failed = rename(temporary, path);
	if (!failed)
		return NULL;
	if (errno == EEXIST)
		return exists_error(path);
	return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
}

struct gs_error *outfile_check_space(int fd, const char *path, uint64_t need)
{
	char need_text[TEXT_NUMBER_MAX], free_text[TEXT_NUMBER_MAX];
	struct statvfs fs;

	if (fstatvfs(fd, &fs))
		return NULL;
	if (need / fs.f_frsize < fs.f_bavail)
		return NULL;
	text_size(need_text, need);
	text_size(free_text, fs.f_bavail * fs.f_frsize);
	return gs_error_create(GS_ERROR_OTHER,
			       "%s: needs %s, but its file system has only %s free; choose "
			       "another place with -o",
			       path, need_text, free_text);
}

struct gs_error *outfile_write(int fd, const char *path, const void *data, size_t size,
			       uint64_t offset, const volatile bool *stop, const char *then)
{
	while (size) {
		if (*stop)
			return gs_error_create(GS_ERROR_OTHER, "%s: interrupted, %s", path, then);

		ssize_t n = pwrite(fd, data, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			return gs_error_errno(GS_ERROR_OTHER, n ? errno : EIO,
					      "%s: cannot write at offset %ju", path,
					      (uintmax_t)offset);
		}
		data = (const char *)data + n;
		size -= n;
		offset += n;
	}
	return NULL;
}
