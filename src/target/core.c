// SPDX-License-Identifier: Apache-2.0
// core: memory saved in a file.
#include "target/core.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "target/devdax.h"
#include "target/filemem.h"
#include "target/ops.h"
#include "util/array.h"
#include "util/cleanup.h"

#define HEAD_SIZE 16

static const struct format {
	// What a file of this format begins with.
	const char *magic;
	size_t len;
	struct gs_error *(*open)(struct gs_core *core, struct gs_target **ret);
} formats[] = {
	{ "\177ELF", 4, gs_elf_open },
	{ "EMiL", 4, gs_lime_open },
	{ "KDUMP   ", 8, gs_kdump_open },
};

#define FLAT_MAGIC "makedumpfile"

struct gs_error *gs_core_check(const struct gs_core *core, uint64_t offset, uint64_t size,
			       const char *what)
{
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end))
		return gs_error_create(GS_ERROR_TARGET,
				       "damaged: %s lies at offset 0x%" PRIx64
				       " and takes 0x%" PRIx64 " bytes",
				       what, offset, size);
	if (end > core->size)
		return gs_error_create(GS_ERROR_TARGET,
				       "truncated: %s ends at byte %" PRIu64
				       " of the file, which has %" PRIu64 " (%" PRIu64
				       " bytes are missing); copy it again",
				       what, end, core->size, end - core->size);
	return NULL;
}

struct gs_error *gs_core_read(const struct gs_core *core, uint64_t offset, void *buf, size_t size,
			      const char *what)
{
	struct gs_error *err = gs_core_check(core, offset, size, what);
	char *out = buf;

	if (err)
		return err;
	while (size) {
		ssize_t n = pread(core->fd, out, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gs_error_errno(GS_ERROR_TARGET, errno, "cannot read %s", what);
		if (n == 0)
			return gs_error_create(GS_ERROR_TARGET, "shrank while %s was read", what);
		out += n;
		offset += n;
		size -= n;
	}
	return NULL;
}

struct gs_error *gs_core_create(struct gs_core *core, struct gs_filemem *mem,
				struct gs_target **ret)
{
	uint32_t source;
	struct gs_error *err =
		gs_filemem_add_source(mem, no_cleanup_fd(core->fd), core->path, &source);

	if (err) {
		gs_filemem_destroy(mem);
		return err;
	}
	return gs_filemem_create(mem, ret);
}

static struct gs_error *open_file(const char *path, const char *layout, struct gs_core *core)
{
	// O_NONBLOCK: opening a FIFO must not wait for a writer.
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno, "cannot open");
	if (fstat(fd, &st) < 0)
		return gs_error_errno(GS_ERROR_TARGET, errno, "cannot stat");

	uint64_t size = 0, device_align = 0;

	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) &&
	    !gs_devdax_size(&st, &size, &device_align))
		return gs_error_create(
			GS_ERROR_TARGET,
			"is neither a file nor a block device, nor memory (/dev/dax)");

	struct gs_error *err = gs_filemem_size(fd, &size, &device_align);

	if (err)
		return err;
	if (size == 0)
		return gs_error_create(GS_ERROR_TARGET, "is empty");
	// It has no read().
	if (device_align && !layout)
		return gs_error_create(GS_ERROR_TARGET,
				       "is memory without a format: say what it is with --layout "
				       "PHYS:SIZE[@OFFSET][,...]");
	*core = (struct gs_core){ .fd = no_cleanup_fd(fd), .path = path, .size = size };
	return NULL;
}

static struct gs_error *read_head(const struct gs_core *core, char head[HEAD_SIZE])
{
	memset(head, 0, HEAD_SIZE);
	return gs_core_read(core, 0, head, core->size < HEAD_SIZE ? core->size : HEAD_SIZE,
			    "its header");
}

static struct gs_error *open_format(struct gs_core *core, const char *layout,
				    struct gs_target **ret)
{
	char head[HEAD_SIZE];
	struct gs_error *err;

	// Who gives a layout means it, whatever the memory begins with.
	if (layout)
		return gs_raw_open(core, layout, ret);
	err = read_head(core, head);
	if (err)
		return err;
	if (memcmp(head, FLAT_MAGIC, sizeof(FLAT_MAGIC)) == 0) {
		err = gs_flat_expand(core);
		if (!err)
			err = read_head(core, head);
		if (err)
			return err;
	}
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (memcmp(head, formats[i].magic, formats[i].len) == 0)
			return formats[i].open(core, ret);
	}
	return gs_error_create(
		GS_ERROR_TARGET,
		"unknown format; understood are ELF64 vmcores, cores compressed by "
		"makedumpfile, LiME, and raw images with --layout PHYS:SIZE[@OFFSET][,...]");
}

struct gs_error *gs_core_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret)
{
	struct gs_core core;

	if (!*rest)
		return gs_error_create(GS_ERROR_USAGE, "give a file");

	struct gs_error *err = open_file(rest, gs_target_layout(options), &core);

	if (err)
		return err;
	err = open_format(&core, gs_target_layout(options), ret);
	if (core.fd >= 0)
		close(core.fd);
	return err;
}
