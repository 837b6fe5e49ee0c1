// SPDX-License-Identifier: Apache-2.0
#include "cli/vmcore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gpusentinel/target.h>

#include "cli/outfile.h"
#include "cli/progress.h"
#include "cli/vmcore_head.h"
#include "engine/memory_area.h"
#include "util/cleanup.h"

// Bytes written in one call: large enough for the disk, small enough for the progress bar and ^C.
enum { WRITE_MAX = 4 << 20 };

struct vmcore {
	struct gs_target *target;
	const struct gs_segment *segments;
	size_t segment_count;
	struct vmcore_head head;
	uint64_t present_pages;
	int fd;
	const char *path;
	const volatile bool *stop;
	struct vmcore_result *result;
};

static struct gs_error *make_head(struct gs_kernel *kernel, struct vmcore_head *ret)
{
	size_t size;
	_cleanup_free_ struct gs_mailbox_memory *memory = memory_area_make(kernel, &size);
	struct gs_error *err = memory ? vmcore_check_note(memory) : &gs_enomem;

	if (err)
		return err;

	_cleanup_free_ uint8_t *text = malloc(memory->note_size + 1);

	if (!text)
		return &gs_enomem;
	err = gs_target_read(gs_kernel_target(kernel), memory->note_phys + VMCORE_NOTE_HEAD, text,
			     memory->note_size);
	return err ? err : vmcore_head_make(memory, text, ret);
}

static struct gs_error *write_at(struct vmcore *core, const void *data, size_t size,
				 uint64_t offset)
{
	struct gs_error *err = outfile_write(core->fd, core->path, data, size, offset, core->stop,
					     "nothing is left of it");

	if (!err)
		core->result->written += size;
	return err;
}

// Write the pages of one segment that have contents, in runs as long as they come.
static struct gs_error *write_segment(struct vmcore *core, const struct gs_segment *segment,
				      uint64_t offset, struct progress *progress)
{
	uint64_t end = segment->phys + segment->size, phys = segment->phys;

	while (gs_target_next_present(core->target, phys, &phys) && phys < end) {
		uint64_t next = phys, run = 0;

		do {
			run += GS_PAGE_SIZE;
		} while (run < WRITE_MAX && phys + run < end &&
			 gs_target_next_present(core->target, phys + run, &next) &&
			 next == phys + run);

		const void *data = gs_target_map(core->target, phys, run);

		// Short of memory for a decompressed page, or the file behind the target has shrunk.
		if (!data) {
			return gs_error_address(GS_ERROR_TARGET, phys,
						"memory at physical 0x%jx cannot be read",
						(uintmax_t)phys);
		}

		struct gs_error *err = write_at(core, data, run, offset + (phys - segment->phys));

		if (err)
			return err;
		core->result->pages += run >> GS_PAGE_SHIFT;
		progress_update(progress, core->result->written);
		phys += run;
	}
	return NULL;
}

static struct gs_error *write_all(struct vmcore *core, struct progress *progress)
{
	struct gs_error *err = write_at(core, core->head.bytes, core->head.size, 0);
	uint64_t offset = core->head.size;

	for (size_t i = 0; i < core->segment_count && !err; i++) {
		err = write_segment(core, &core->segments[i], offset, progress);
		offset += core->segments[i].size;
	}
	if (err)
		return err;
	// The length holds the hole at the end; the disk may refuse only now.
	if (ftruncate(core->fd, core->result->size) || fsync(core->fd))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", core->path);
	return NULL;
}

static struct gs_error *write_file(struct vmcore *core, const char *temporary, bool force)
{
	uint64_t need = core->head.size + core->present_pages * GS_PAGE_SIZE;
	struct gs_error *err = outfile_check_space(core->fd, core->path, need);

	if (err)
		return err;

	struct progress progress;

	progress_init(&progress, "dump", need);
	err = write_all(core, &progress);
	progress_deinit(&progress);
	return err ? err : outfile_move(temporary, core->path, force);
}

struct gs_error *vmcore_write(struct gs_kernel *kernel, const char *path, bool force,
			      const volatile bool *stop, struct vmcore_result *ret)
{
	struct gs_error *err = outfile_check(path, force);

	*ret = (struct vmcore_result){};
	if (err)
		return err;

	struct vmcore core = {
		.target = gs_kernel_target(kernel),
		.path = path,
		.stop = stop,
		.result = ret,
	};

	core.segments = gs_target_segments(core.target, &core.segment_count);
	ret->segments = core.segment_count;
	core.present_pages = gs_target_scan(core.target);

	err = make_head(kernel, &core.head);

	_cleanup_free_ uint8_t *head = core.head.bytes;
	_cleanup_free_ char *temporary = NULL;

	if (err)
		return err;
	ret->size = core.head.file_size;
	if (asprintf(&temporary, "%s.tmp-%d", path, (int)getpid()) < 0) {
		temporary = NULL;
		return &gs_enomem;
	}

	// Memory holds keys and passwords: for its owner's eyes alone.
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", temporary);
	core.fd = fd;
	err = write_file(&core, temporary, force);
	if (err)
		unlink(temporary);
	return err;
}
