// SPDX-License-Identifier: Apache-2.0
// What lies in tables of the mailbox: metrics, the formats that tell what records mean, what memory the target has.
#include <string.h>
#include <time.h>

#include <gpusentinel/map.h>

#include "mailbox/layout.h"
#include "mailbox/reader.h"
#include "util/cleanup.h"

// Metrics read at a time: 16 KiB, which a link to another machine reads without large buffers.
enum { BATCH = 128 };

static bool formats_ok(const struct gs_mailbox_formats *formats, uint64_t room, uint32_t crc)
{
	uint64_t size = formats->size;

	if (size < sizeof(*formats) || size > room || size % 8 ||
	    formats->count > (size - sizeof(*formats)) / sizeof(formats->entries[0]) ||
	    gs_crc32c_words(mailbox_crc32c(), (const uint64_t *)formats, size / 8) != crc)
		return false;
	for (uint32_t i = 0; i < formats->count; i++) {
		uint32_t offset = formats->entries[i].offset;

		if (offset &&
		    (offset >= size || !memchr((const char *)formats + offset, 0, size - offset)))
			return false;
	}
	return true;
}

struct gs_error *mailbox_read_formats(struct mailbox_reader *reader, uint32_t index,
				      const struct gs_mailbox_detector *row,
				      struct gs_mailbox_formats **ret)
{
	const struct gs_mailbox_header *header = mailbox_reader_header(reader);
	uint64_t room = mailbox_formats_room(header);
	_cleanup_free_ struct gs_mailbox_formats *formats = NULL;

	*ret = NULL;
	if (!row->formats_crc || room < sizeof(*formats) || index >= header->detector_count)
		return NULL;
	formats = malloc(room);
	if (!formats)
		return &gs_enomem;

	struct gs_error *err =
		mailbox_read(reader, mailbox_formats_offset(header, index), formats, room);

	// If they are not the row's, its detector has just been replaced.
	if (!err && formats_ok(formats, room, row->formats_crc))
		*ret = no_cleanup_ptr(formats);
	return err;
}

static bool segments_ok(const struct gs_mailbox_memory *memory)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < memory->segment_count; i++) {
		const struct gs_mailbox_segment *segment = &memory->segments[i];

		if (segment->phys % GS_READ_PAGE || segment->size % GS_READ_PAGE ||
		    !segment->size || segment->phys < end ||
		    segment->phys + segment->size < segment->phys)
			return false;
		end = segment->phys + segment->size;
	}
	return true;
}

struct gs_error *mailbox_read_memory(struct mailbox_reader *reader, struct gs_mailbox_memory **ret)
{
	const struct gs_mailbox_area *area = &mailbox_reader_header(reader)->memory;
	// No target has more segments than this; what a header says may be anything.
	size_t room = sizeof(struct gs_mailbox_memory) +
		      GS_MAP_SEGMENTS * sizeof(struct gs_mailbox_segment);
	_cleanup_free_ struct gs_mailbox_memory *memory = calloc(1, room);

	if (!memory)
		return &gs_enomem;
	if (room > area->size)
		room = area->size / 8 * 8;

	struct gs_error *err =
		room < sizeof(*memory) ? NULL : mailbox_read(reader, area->offset, memory, room);

	if (err)
		return err;
	if (!memory->segment_count)
		return gs_error_create(GS_ERROR_OTHER,
				       "the mailbox does not say what memory there is");

	size_t left = (room - sizeof(*memory)) / sizeof(memory->segments[0]);

	if (memory->segment_count > left ||
	    memory->crc != mailbox_crc(memory,
				       sizeof(*memory) +
					       memory->segment_count * sizeof(memory->segments[0]),
				       &memory->crc) ||
	    !segments_ok(memory))
		return gs_error_create(GS_ERROR_OTHER, "the mailbox's map of memory is damaged");
	*ret = no_cleanup_ptr(memory);
	return NULL;
}

static bool metric_ok(const struct gs_mailbox_header *header,
		      const struct gs_mailbox_metric *metric)
{
	enum { FIRST = offsetof(struct gs_mailbox_metric, value) / 8 };
	const struct gs_crc32c *table = mailbox_crc32c();
	const uint64_t *words = (const uint64_t *)metric;
	uint32_t crc = gs_mailbox_seed(header);

	for (size_t i = FIRST; i < sizeof(*metric) / 8; i++)
		crc = gs_crc32c_word(table, crc,
				     i + 1 < sizeof(*metric) / 8 ? words[i] : (uint32_t)words[i]);
	return gs_crc32c_finish(crc) == metric->crc && metric->detector < header->detector_count &&
	       metric->size <= sizeof(metric->labels) && metric->size % 8 == 0;
}

// Read one again until it is right. All that are wrong share the time that this may take.
static struct gs_error *retry(struct mailbox_reader *reader, uint64_t offset, uint64_t *since,
			      struct gs_mailbox_metric *metric, bool *ok_ret)
{
	const struct gs_mailbox_header *header = mailbox_reader_header(reader);

	while (!*ok_ret && mailbox_wait(reader, since)) {
		struct gs_error *err = mailbox_read(reader, offset, metric, sizeof(*metric));

		if (err)
			return err;
		*ok_ret = metric_ok(header, metric);
	}
	return NULL;
}

struct gs_error *mailbox_read_metrics(struct mailbox_reader *reader, mailbox_metric_fn *fn,
				      void *arg, uint64_t *damaged_ret)
{
	const struct gs_mailbox_header *header = mailbox_reader_header(reader);
	uint64_t count = mailbox_metric_count(header), left = count;
	_cleanup_free_ struct gs_mailbox_metric *batch = calloc(BATCH, sizeof(*batch));
	struct gs_error *err = batch ? NULL : &gs_enomem;
	uint64_t since = 0;

	*damaged_ret = 0;
	for (uint64_t at = 0; at < count && !err; at += BATCH, left -= BATCH) {
		uint64_t n = left < BATCH ? left : BATCH;
		uint64_t offset = header->metrics.offset + at * sizeof(*batch);

		err = mailbox_read(reader, offset, batch, n * sizeof(*batch));
		for (uint64_t i = 0; i < n && !err; i++) {
			bool ok = !batch[i].key || metric_ok(header, &batch[i]);

			if (!ok)
				err = retry(reader, offset + i * sizeof(*batch), &since, &batch[i],
					    &ok);
			if (!err && !ok)
				++*damaged_ret;
			if (!err && ok && batch[i].key)
				err = fn(arg, &batch[i]);
		}
		if (left < BATCH)
			break;
	}
	return err;
}
