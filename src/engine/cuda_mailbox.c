// SPDX-License-Identifier: Apache-2.0
// The mailbox in GPU memory: made at the first start, read by copies.
#include <stdio.h>
#include <string.h>

#include "engine/cuda_loop.h"
#include "engine/formats.h"
#include "engine/memory_area.h"
#include "mailbox/layout.h"
#include "mailbox/progress.h"
#include "util/cleanup.h"

static struct gs_error *read_by(struct cuda *cuda, struct CUstream_st *stream, uint64_t offset,
				void *buf, size_t size)
{
	unsigned int result = cuda->api.copy_from_device(buf, cuda->mailbox + offset, size, stream);

	if (!result)
		result = cuda->api.stream_wait(stream);
	return cuda_error(&cuda->api, result, "reading the mailbox");
}

static struct gs_error *read_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct cuda *cuda = arg;

	return read_by(cuda, cuda->reader_stream, offset, buf, size);
}

static struct gs_error *look_at_mailbox(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct cuda *cuda = arg;

	return read_by(cuda, cuda->look_stream, offset, buf, size);
}

static struct gs_error *create_stream(struct cuda *cuda, struct CUstream_st **ret)
{
	return cuda_error(&cuda->api, cuda->api.stream_create(ret, CUDA_STREAM_NON_BLOCKING),
			  "cannot create a stream");
}

static struct gs_error *fill_header(struct cuda *cuda)
{
	static const uint64_t slots[] = { MAILBOX_FINDING_SLOTS, MAILBOX_DATA_SLOTS };
	struct gs_mailbox_header *header = &cuda->header;
	struct gs_kernel *kernel = cuda->engine->kernel;

	mailbox_layout(header, GS_MAILBOX_CUDA, slots);
	snprintf(header->release, sizeof(header->release), "%s", gs_kernel_release(kernel));
	snprintf(header->target, sizeof(header->target), "%s",
		 gs_target_spec(gs_kernel_target(kernel)));
	snprintf(header->device, sizeof(header->device), "%.63s", cuda->description);

	struct gs_error *err = cuda_wall_offset(cuda, &header->wall_offset_ns);

	header->epoch = cuda->engine->resume ? cuda->engine->resume->epoch + 1 : 0;
	mailbox_seal_header(header);
	return err;
}

static struct gs_error *write_memory(struct cuda *cuda)
{
	size_t size;
	_cleanup_free_ struct gs_mailbox_memory *area =
		memory_area_make(cuda->engine->kernel, &size);

	if (!area)
		return &gs_enomem;
	return cuda_write(cuda, cuda->mailbox + cuda->header.memory.offset, area, size);
}

static cuda_address row_address(const struct cuda *cuda, int row)
{
	return cuda->mailbox + cuda->header.detectors.offset +
	       (uint64_t)row * sizeof(struct gs_mailbox_detector);
}

// The numbers of an earlier mailbox go on.
static struct gs_error *resume(struct cuda *cuda, const struct gs_mailbox_progress *from)
{
	const struct gs_mailbox_header *header = &cuda->header;
	struct gs_error *err = NULL;

	for (uint32_t i = 0; from && i < GS_MAILBOX_RINGS && !err; i++) {
		struct gs_mailbox_ring ring;

		mailbox_first_ring(from, i, &ring);
		err = cuda_write(cuda, cuda->mailbox + header->rings[i].offset, &ring,
				 sizeof(ring));
	}
	for (uint32_t i = 0; from && i < header->detector_count && !err; i++) {
		struct gs_mailbox_detector row;

		mailbox_first_row(from, i, &row);
		err = cuda_write(cuda, row_address(cuda, (int)i), &row, sizeof(row));
	}
	return err;
}

struct gs_error *cuda_mailbox_open(struct cuda *cuda)
{
	struct gs_error *err = NULL;

	if (cuda->reader)
		return NULL;
	// After an attempt that failed half way, only what is missing.
	cuda_mailbox_close(cuda, true);
	err = fill_header(cuda);
	if (!err)
		err = cuda_alloc(cuda, "the mailbox", CUDA_MAILBOX_SIZE(cuda->header.size),
				 &cuda->mailbox);
	if (!err)
		err = cuda_zero(cuda, cuda->mailbox, cuda->header.size);
	if (!err)
		err = write_memory(cuda);
	if (!err)
		err = resume(cuda, cuda->engine->resume);
	if (!err)
		err = cuda_write(cuda, cuda->mailbox, &cuda->header, sizeof(cuda->header));
	if (!err)
		err = cuda_alloc(cuda, "the table of checksums", sizeof(struct gs_crc32c),
				 &cuda->crc32c);
	if (!err)
		err = cuda_write(cuda, cuda->crc32c, mailbox_crc32c(), sizeof(struct gs_crc32c));
	if (!err)
		err = cuda_alloc(cuda, "the supervisor", sizeof(struct gs_supervisor),
				 &cuda->supervisor);
	if (!err)
		err = create_stream(cuda, &cuda->supervisor_stream);
	if (!err)
		err = create_stream(cuda, &cuda->reader_stream);
	if (!err)
		err = create_stream(cuda, &cuda->look_stream);
	if (!err)
		err = mailbox_reader_create(look_at_mailbox, cuda, &cuda->looker);
	return err ? err : mailbox_reader_create(read_mailbox, cuda, &cuda->reader);
}

void cuda_mailbox_close(struct cuda *cuda, bool entered)
{
	mailbox_reader_destroy(cuda->reader);
	mailbox_reader_destroy(cuda->looker);
	cuda->reader = cuda->looker = NULL;
	cuda_export_close(cuda);
	if (!entered)
		return;
	if (cuda->look_stream)
		cuda->api.stream_destroy(cuda->look_stream);
	if (cuda->reader_stream)
		cuda->api.stream_destroy(cuda->reader_stream);
	if (cuda->supervisor_stream)
		cuda->api.stream_destroy(cuda->supervisor_stream);
	cuda->reader_stream = cuda->look_stream = cuda->supervisor_stream = NULL;
	cuda_free(cuda, &cuda->supervisor);
	cuda_free(cuda, &cuda->crc32c);
	cuda_free(cuda, &cuda->mailbox);
}

struct gs_error *cuda_mailbox_read_lost(struct cuda *cuda, int index, uint64_t *ret)
{
	return cuda_read(cuda, ret,
			 row_address(cuda, index) + offsetof(struct gs_mailbox_detector, lost),
			 sizeof(*ret));
}

static struct gs_error *write_row(struct cuda *cuda, int index, const char *name,
				  uint32_t period_us, uint32_t threads, uint32_t blocks,
				  const struct gs_mailbox_formats *formats,
				  struct gs_mailbox_detector *row)
{
	struct gs_error *err = cuda_read(cuda, row, row_address(cuda, index), sizeof(*row));

	if (err)
		return err;
	mailbox_row(row, name, period_us, threads, blocks, formats);
	return cuda_write(cuda, row_address(cuda, index), row, sizeof(*row));
}

struct gs_error *cuda_mailbox_add(struct cuda *cuda, const struct gs_detector *detector, int index,
				  struct gs_mailbox_writer *ret)
{
	_cleanup_free_ struct gs_mailbox_formats *formats =
		formats_make(detector->loaded->fat, mailbox_formats_room(&cuda->header));
	const struct cuda_detector *mine = detector->code;
	struct gs_mailbox_detector row;

	if (!formats)
		return &gs_enomem;

	struct gs_error *err = cuda_write(
		cuda, cuda->mailbox + mailbox_formats_offset(&cuda->header, (uint32_t)index),
		formats, formats->size);

	if (!err)
		err = write_row(cuda, index, detector->name, detector->period_us, mine->threads,
				mine->blocks, formats, &row);
	if (!err)
		mailbox_writer(ret, &cuda->header, cuda->mailbox, cuda->crc32c, (uint32_t)index,
			       row.generation);
	return err;
}

struct gs_error *cuda_mailbox_remove(struct cuda *cuda, int index)
{
	struct gs_mailbox_detector row;

	return write_row(cuda, index, "", 0, 0, 0, NULL, &row);
}

static struct gs_error *enter_looker(struct cuda *cuda)
{
	if (!cuda->looker)
		return engine_no_mailbox();

	struct gs_error *err = cuda_enter(cuda);

	if (!err)
		pthread_mutex_lock(&cuda->look_lock);
	return err;
}

static void leave_looker(struct cuda *cuda)
{
	pthread_mutex_unlock(&cuda->look_lock);
	cuda_leave(cuda);
}

struct gs_error *cuda_heartbeat(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = enter_looker(cuda);

	if (err)
		return err;
	err = mailbox_read_heartbeat(cuda->looker, ret);
	leave_looker(cuda);
	return err;
}

struct gs_error *cuda_row(struct gs_engine *engine, uint32_t index, struct gs_mailbox_detector *ret)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = enter_looker(cuda);

	if (err)
		return err;
	err = mailbox_read_detector(cuda->looker, index, ret);
	leave_looker(cuda);
	return err;
}

struct gs_error *cuda_progress(struct gs_engine *engine, struct gs_mailbox_progress *ret)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = enter_looker(cuda);

	if (err)
		return err;
	err = mailbox_read_progress(cuda->looker, ret);
	leave_looker(cuda);
	return err;
}
