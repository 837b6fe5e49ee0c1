// SPDX-License-Identifier: Apache-2.0
#include "mailbox/layout.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include <gpusentinel/map.h>

#include "util/array.h"

enum {
	PAGE = 4096,
	HEADER_SIZE = PAGE,
	METRICS_SIZE = 256 << 10,
	FORMATS_SIZE = 8 << 10,
	SLOT_SIZE = PAGE,
	RESULT_SIZE = 256 << 10,
	BULK_SIZE = 64 << 20,
	MEMORY_SIZE = sizeof(struct gs_mailbox_memory) +
		      GS_MAP_SEGMENTS * sizeof(struct gs_mailbox_segment),
};

_Static_assert(sizeof(struct gs_mailbox_header) <= HEADER_SIZE, "the header has one page");
_Static_assert(sizeof(struct gs_mailbox_header) % 8 == 0, "CRCs go over words");
_Static_assert(sizeof(struct gs_mailbox_heartbeat) == 64, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_detector) == 256, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_ring) == GS_MAILBOX_SLOT, "slots are aligned");
_Static_assert(sizeof(struct gs_mailbox_entry) == 32, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_metric) == 128, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_memory) == 56, "part of the interface");
_Static_assert(sizeof(struct gs_request) == 32, "part of the interface");
_Static_assert(sizeof(struct gs_answer) == 64, "part of the interface");
_Static_assert(sizeof(struct gs_read_answer) == 96, "part of the interface");
_Static_assert(sizeof(struct gs_monitor_state) == GS_MAILBOX_SLOT, "answers are aligned");
_Static_assert(GS_REQUEST_DEPTH *GS_REQUEST_SIZE <= SLOT_SIZE, "a slot holds all requests");

// No ring is larger: keeps the arithmetic on hostile headers from overflowing.
#define MAX_SIZE (UINT64_C(1) << 40)

static struct gs_crc32c crc32c;
static pthread_once_t crc32c_once = PTHREAD_ONCE_INIT;

static void init_crc32c(void)
{
	gs_crc32c_init(&crc32c);
}

const struct gs_crc32c *mailbox_crc32c(void)
{
	pthread_once(&crc32c_once, init_crc32c);
	return &crc32c;
}

uint32_t mailbox_crc(const void *structure, size_t size, const uint32_t *at)
{
	const struct gs_crc32c *table = mailbox_crc32c();
	size_t offset = (size_t)((const char *)at - (const char *)structure);
	uint32_t crc = GS_CRC32C_START;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word;

		memcpy(&word, (const char *)structure + i, sizeof(word));
		if (i == (offset & ~(size_t)7))
			word &= ~(UINT64_C(0xffffffff) << offset % 8 * 8);
		crc = gs_crc32c_word(table, crc, word);
	}
	return gs_crc32c_finish(crc);
}

static void place(struct gs_mailbox_header *header, struct gs_mailbox_area *area, uint64_t size)
{
	area->offset = header->size;
	area->size = size;
	header->size += (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

void mailbox_layout(struct gs_mailbox_header *header, enum gs_mailbox_engine engine,
		    const uint64_t slots[GS_MAILBOX_RINGS])
{
	memset(header, 0, sizeof(*header));
	memcpy(header->magic, GS_MAILBOX_MAGIC, sizeof(header->magic));
	header->version = GS_MAILBOX_VERSION;
	header->engine = engine;
	header->detector_count = GS_MAILBOX_DETECTORS;
	header->size = HEADER_SIZE;
	// A reader that compares instances lives with a poor one.
	if (getrandom(header->instance, sizeof(header->instance), 0) < 0)
		header->instance[0] = (uint64_t)header;
	place(header, &header->heartbeat, sizeof(struct gs_mailbox_heartbeat));
	place(header, &header->detectors,
	      GS_MAILBOX_DETECTORS * sizeof(struct gs_mailbox_detector));
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++)
		place(header, &header->rings[i],
		      sizeof(struct gs_mailbox_ring) + slots[i] * GS_MAILBOX_SLOT);
	place(header, &header->metrics, METRICS_SIZE);
	header->monitor_count = GS_MAILBOX_MONITORS;
	place(header, &header->requests, GS_MAILBOX_MONITORS * SLOT_SIZE);
	place(header, &header->results, GS_MAILBOX_MONITORS * RESULT_SIZE);
	place(header, &header->bulk, BULK_SIZE);
	place(header, &header->formats, GS_MAILBOX_DETECTORS * FORMATS_SIZE);
	place(header, &header->memory, MEMORY_SIZE);
}

void mailbox_seal_header(struct gs_mailbox_header *header)
{
	header->crc = mailbox_crc(header, sizeof(*header), &header->crc);
}

static bool area_ok(const struct gs_mailbox_header *header, const struct gs_mailbox_area *area,
		    uint64_t min)
{
	return area->offset % GS_MAILBOX_SLOT == 0 && area->offset >= sizeof(*header) &&
	       area->offset <= header->size && area->size <= header->size - area->offset &&
	       area->size >= min;
}

uint64_t mailbox_ring_slots(const struct gs_mailbox_area *area)
{
	return (area->size - sizeof(struct gs_mailbox_ring)) / GS_MAILBOX_SLOT;
}

// A mailbox that serves no monitors is one, too.
static bool monitors_ok(const struct gs_mailbox_header *header)
{
	uint32_t count = header->monitor_count;

	if (!count)
		return true;
	return count <= GS_MAILBOX_MONITORS &&
	       area_ok(header, &header->requests,
		       count * (uint64_t)GS_REQUEST_DEPTH * GS_REQUEST_SIZE) &&
	       area_ok(header, &header->results, 0) && area_ok(header, &header->bulk, 0) &&
	       gs_answer_stride(gs_monitor_share(&header->results, count, GS_MAILBOX_SLOT)) >=
		       sizeof(struct gs_read_answer) + GS_READ_INLINE_MAX + PAGE;
}

bool mailbox_check_header(const struct gs_mailbox_header *header)
{
	if (memcmp(header->magic, GS_MAILBOX_MAGIC, sizeof(header->magic)) ||
	    header->version != GS_MAILBOX_VERSION ||
	    header->crc != mailbox_crc(header, sizeof(*header), &header->crc))
		return false;
	if (header->size > MAX_SIZE || header->detector_count > GS_MAILBOX_DETECTORS ||
	    !area_ok(header, &header->heartbeat, sizeof(struct gs_mailbox_heartbeat)) ||
	    !area_ok(header, &header->detectors,
		     header->detector_count * sizeof(struct gs_mailbox_detector)))
		return false;
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++) {
		if (!area_ok(header, &header->rings[i],
			     sizeof(struct gs_mailbox_ring) + GS_MAILBOX_SLOT))
			return false;
	}
	if (!area_ok(header, &header->metrics, 0) || !area_ok(header, &header->formats, 0) ||
	    !area_ok(header, &header->memory, 0) || !monitors_ok(header))
		return false;
	return memchr(header->release, 0, sizeof(header->release)) &&
	       memchr(header->target, 0, sizeof(header->target)) &&
	       memchr(header->device, 0, sizeof(header->device));
}

void mailbox_row(struct gs_mailbox_detector *row, const char *name, uint32_t period_us,
		 uint32_t threads, uint32_t blocks, const struct gs_mailbox_formats *formats)
{
	struct gs_mailbox_detector old = *row;

	memset(row, 0, sizeof(*row));
	strncpy(row->name, name, sizeof(row->name) - 1);
	row->state = formats ? GS_MAILBOX_WAITING : GS_MAILBOX_EMPTY;
	row->period_us = period_us;
	row->blocks = blocks;
	row->threads = threads;
	memcpy(row->records, old.records, sizeof(row->records));
	// 0 stands for any.
	row->generation = old.generation + 1 ? old.generation + 1 : 1;
	if (formats)
		row->formats_crc = gs_crc32c_words(mailbox_crc32c(), (const uint64_t *)formats,
						   formats->size / 8);
	row->crc = mailbox_crc(row, sizeof(*row), &row->crc);
}

void mailbox_writer(struct gs_mailbox_writer *writer, const struct gs_mailbox_header *header,
		    uint64_t address, uint64_t table, uint32_t detector, uint32_t generation)
{
	memset(writer, 0, sizeof(*writer));
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++) {
		writer->rings[i].address = address + header->rings[i].offset;
		writer->rings[i].slots = mailbox_ring_slots(&header->rings[i]);
	}
	writer->entry =
		address + header->detectors.offset + detector * sizeof(struct gs_mailbox_detector);
	writer->crc32c = table;
	writer->detector = detector;
	writer->generation = generation;
	writer->seed = gs_mailbox_seed(header);
	writer->metrics = address + header->metrics.offset;
	writer->metric_count = (uint32_t)mailbox_metric_count(header);
}

void mailbox_supervisor(struct gs_supervisor *supervisor, const struct gs_mailbox_header *header,
			uint64_t address, uint64_t table)
{
	uint32_t count = header->monitor_count;

	supervisor->mailbox = address;
	supervisor->heartbeat = address + header->heartbeat.offset;
	supervisor->crc32c = table;
	supervisor->seed = gs_mailbox_seed(header);
	supervisor->monitor_count = count;
	supervisor->requests = address + header->requests.offset;
	supervisor->request_share = gs_monitor_share(&header->requests, count, GS_MAILBOX_SLOT);
	supervisor->results = address + header->results.offset;
	supervisor->result_share = gs_monitor_share(&header->results, count, GS_MAILBOX_SLOT);
	supervisor->answer_stride = gs_answer_stride(supervisor->result_share);
	supervisor->windows = address + header->bulk.offset;
	supervisor->window_share = gs_monitor_share(&header->bulk, count, GS_WINDOW_ALIGN);
}

uint64_t mailbox_metric_count(const struct gs_mailbox_header *header)
{
	return header->metrics.size / sizeof(struct gs_mailbox_metric);
}

uint64_t mailbox_formats_room(const struct gs_mailbox_header *header)
{
	return header->detector_count ? header->formats.size / header->detector_count /
						GS_MAILBOX_SLOT * GS_MAILBOX_SLOT
				      : 0;
}

uint64_t mailbox_formats_offset(const struct gs_mailbox_header *header, uint32_t detector)
{
	return header->formats.offset + detector * mailbox_formats_room(header);
}

void mailbox_formats(struct gs_mailbox_formats *to, uint64_t room, uint32_t count,
		     mailbox_format_fn *format, const void *arg)
{
	uint64_t used = sizeof(*to);

	memset(to, 0, room);
	for (; to->count < count; to->count++) {
		if (room - used < sizeof(to->entries[0]))
			break;
		used += sizeof(to->entries[0]);
	}
	for (uint32_t i = 0; i < to->count; i++) {
		struct mailbox_format it = format(arg, i);
		size_t size = strlen(it.text) + 1;

		to->entries[i].kind = it.kind;
		to->entries[i].nargs = it.nargs;
		if (size > room - used)
			continue;
		to->entries[i].offset = (uint32_t)used;
		memcpy((char *)to + used, it.text, size);
		used += size;
	}
	to->size = (uint32_t)((used + 7) & ~UINT64_C(7));
}
