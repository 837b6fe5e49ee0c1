// SPDX-License-Identifier: Apache-2.0
#include "mailbox/layout.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "util/array.h"

enum {
	PAGE = 4096,
	HEADER_SIZE = PAGE,
	METRICS_SIZE = 64 << 10,
	MONITORS = 16,
	REQUEST_SIZE = PAGE,
	RESULT_SIZE = 256 << 10,
	BULK_SIZE = 16 << 20,
};

_Static_assert(sizeof(struct gs_mailbox_header) <= HEADER_SIZE, "the header has one page");
_Static_assert(sizeof(struct gs_mailbox_header) % 8 == 0, "CRCs go over words");
_Static_assert(sizeof(struct gs_mailbox_heartbeat) == 64, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_detector) == 256, "part of the interface");
_Static_assert(sizeof(struct gs_mailbox_ring) == GS_MAILBOX_SLOT, "slots are aligned");
_Static_assert(sizeof(struct gs_mailbox_entry) == 32, "part of the interface");

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
	place(header, &header->requests, MONITORS * REQUEST_SIZE);
	place(header, &header->results, MONITORS * RESULT_SIZE);
	place(header, &header->bulk, BULK_SIZE);
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
	return memchr(header->release, 0, sizeof(header->release)) &&
	       memchr(header->target, 0, sizeof(header->target)) &&
	       memchr(header->device, 0, sizeof(header->device));
}

void mailbox_row(struct gs_mailbox_detector *row, const char *name, uint32_t period_us)
{
	memset(row, 0, sizeof(*row));
	strncpy(row->name, name, sizeof(row->name) - 1);
	row->state = GS_MAILBOX_WAITING;
	row->period_us = period_us;
	row->blocks = 1;
	row->threads = 1;
	row->crc = mailbox_crc(row, sizeof(*row), &row->crc);
}

void mailbox_writer(struct gs_mailbox_writer *writer, const struct gs_mailbox_header *header,
		    uint64_t address, uint64_t table, uint32_t detector)
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
	writer->seed = gs_mailbox_seed(header);
}
