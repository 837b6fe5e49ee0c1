// SPDX-License-Identifier: Apache-2.0
// makedumpfile's flattened format: what a seekable file would have got, as a stream of writes
// (makedumpfile's makedumpfile.h, struct makedumpfile_header and makedumpfile_data_header).
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "target/core.h"
#include "util/cleanup.h"

#define FLAT_HEADER_SIZE 4096
#define FLAT_TYPE 1
#define FLAT_VERSION 1
// End of the stream: offset and size of the last header.
#define FLAT_END (-1)
// No file system takes longer files, and no machine has as much memory.
#define FLAT_OFFSET_MAX (INT64_C(1) << 47)

// All numbers are big-endian.
struct flat_header {
	char signature[16];
	int64_t type, version;
};

struct flat_data {
	int64_t offset, size;
};

static int open_unnamed(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd = open(tmp && *tmp ? tmp : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd;
}

static struct gs_error *copy_bytes(const struct gs_core *core, uint64_t offset, uint64_t size,
				   int out, uint64_t out_offset)
{
	char buf[65536];

	while (size) {
		size_t chunk = size < sizeof(buf) ? size : sizeof(buf);
		struct gs_error *err = gs_core_read(core, offset, buf, chunk, "a block of data");

		if (err)
			return err;
		for (size_t done = 0; done < chunk;) {
			ssize_t n = pwrite(out, buf + done, chunk - done, out_offset + done);

			if (n < 0 && errno != EINTR)
				return gs_error_errno(
					GS_ERROR_OTHER, errno,
					"cannot expand the flattened core in $TMPDIR or "
					"/var/tmp; expand it with makedumpfile -R");
			done += n > 0 ? n : 0;
		}
		offset += chunk;
		out_offset += chunk;
		size -= chunk;
	}
	return NULL;
}

static struct gs_error *expand_to(const struct gs_core *core, int out, uint64_t *size_ret)
{
	uint64_t offset = FLAT_HEADER_SIZE;
	uint64_t end = 0;

	for (;;) {
		struct flat_data data;
		struct gs_error *err =
			gs_core_read(core, offset, &data, sizeof(data), "the header of a block");

		if (err)
			return err;
		offset += sizeof(data);

		int64_t to = be64toh(data.offset), size = be64toh(data.size);

		if (to == FLAT_END && size == FLAT_END)
			break;
		if (to < 0 || to > FLAT_OFFSET_MAX || size <= 0 || size > FLAT_OFFSET_MAX)
			return gs_error_create(GS_ERROR_TARGET,
					       "damaged: a block of %" PRId64
					       " bytes for offset %" PRId64,
					       size, to);
		err = gs_core_check(core, offset, size, "a block of data");
		if (!err)
			err = copy_bytes(core, offset, size, out, to);
		if (err)
			return err;
		offset += size;
		if ((uint64_t)to + size > end)
			end = (uint64_t)to + size;
	}
	*size_ret = end;
	return NULL;
}

struct gs_error *gs_flat_expand(struct gs_core *core)
{
	struct flat_header header;
	struct gs_error *err =
		gs_core_read(core, 0, &header, sizeof(header), "the flattened header");

	if (err)
		return err;
	if ((int64_t)be64toh(header.type) != FLAT_TYPE ||
	    (int64_t)be64toh(header.version) != FLAT_VERSION)
		return gs_error_create(
			GS_ERROR_TARGET,
			"is in a flattened format of unknown type %" PRId64 " version %" PRId64,
			(int64_t)be64toh(header.type), (int64_t)be64toh(header.version));

	_cleanup_close_ int out = open_unnamed();
	uint64_t size;

	if (out < 0)
		return gs_error_errno(
			GS_ERROR_OTHER, errno,
			"cannot expand the flattened core in $TMPDIR or /var/tmp; expand "
			"it with makedumpfile -R");
	err = expand_to(core, out, &size);
	if (err)
		return err;
	close(core->fd);
	core->fd = no_cleanup_fd(out);
	core->size = size;
	return NULL;
}
