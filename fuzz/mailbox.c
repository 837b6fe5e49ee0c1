// SPDX-License-Identifier: Apache-2.0
// A mailbox, as a watched machine that has been taken over may show it. The input is the memory; the header
// is given its checksum, so that what lies behind that is reached.
#include <stdlib.h>
#include <string.h>

#include "mailbox/layout.h"
#include "mailbox/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	const uint8_t *data;
	size_t size;
	struct gs_mailbox_header header;
};

// What the input does not reach is zero.
static struct gs_error *read_memory(void *arg, uint64_t offset, void *buf, size_t size)
{
	const struct memory *memory = arg;
	uint8_t *to = buf;

	memset(to, 0, size);
	if (offset == 0 && size == sizeof(memory->header)) {
		memcpy(to, &memory->header, size);
		return NULL;
	}
	if (offset + size < offset || offset + size > memory->header.size)
		abort();
	if (offset < memory->size)
		memcpy(to, memory->data + offset,
		       size < memory->size - offset ? size : memory->size - offset);
	return NULL;
}

static struct gs_error *see(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	volatile uint64_t *sum = arg;

	if (entry->detector >= GS_MAILBOX_DETECTORS || entry->size % 8 || (uintptr_t)record % 8)
		abort();
	for (uint32_t i = 0; i < entry->size; i++)
		*sum += ((const uint8_t *)record)[i];
	return NULL;
}

static struct gs_error *see_metric(void *arg, const struct gs_mailbox_metric *metric)
{
	volatile uint64_t *sum = arg;

	if (metric->detector >= GS_MAILBOX_DETECTORS || metric->size > sizeof(metric->labels))
		abort();
	*sum += metric->value;
	return NULL;
}

static void read_formats(struct mailbox_reader *reader)
{
	struct gs_mailbox_detector row = {};
	struct gs_mailbox_formats *formats;

	const struct gs_mailbox_header *header = mailbox_reader_header(reader);
	uint64_t room = mailbox_formats_room(header);
	uint64_t *bytes = malloc(room + 8);

	// As if the row had the CRC of what is there.
	if (room >= sizeof(*formats) && bytes &&
	    !mailbox_read(reader, mailbox_formats_offset(header, 0), bytes, room)) {
		uint32_t size = *(uint32_t *)bytes;

		row.formats_crc =
			gs_crc32c_words(mailbox_crc32c(), bytes, (size < room ? size : room) / 8);
		gs_error_destroy(mailbox_read_formats(reader, 0, &row, &formats));
		for (uint32_t i = 0; formats && i < formats->count; i++) {
			if (strlen((char *)formats + formats->entries[i].offset) >= room)
				abort();
		}
		free(formats);
	}
	free(bytes);
}

static void read_map(struct mailbox_reader *reader)
{
	struct gs_mailbox_memory *map;
	struct gs_error *err = mailbox_read_memory(reader, &map);

	gs_error_destroy(err);
	if (err)
		return;
	for (uint32_t i = 1; i < map->segment_count; i++) {
		if (map->segments[i].phys < map->segments[i - 1].phys + map->segments[i - 1].size)
			abort();
	}
	free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t slots[] = { 16, 64 };
	struct memory memory = { .data = data, .size = size };
	struct mailbox_reader *reader;
	struct gs_mailbox_heartbeat beat;
	struct gs_mailbox_detector row;
	volatile uint64_t sum = 0;
	uint64_t count;

	if (!size)
		return 0;
	// Half of the inputs keep a sane layout, and damage what it leads to.
	mailbox_layout(&memory.header, GS_MAILBOX_CPU, slots);
	memset(memory.header.instance, 0, sizeof(memory.header.instance));
	if (data[0] & 1)
		memcpy(&memory.header.size, data, size < 200 ? size : 200);
	mailbox_seal_header(&memory.header);

	struct gs_error *err = mailbox_reader_create(read_memory, &memory, &reader);

	if (err) {
		gs_error_destroy(err);
		return 0;
	}
	mailbox_set_patience(reader, 0);
	if (data[0] == 2)
		gs_error_destroy(mailbox_read_heartbeat(reader, &beat));
	if (data[0] == 4)
		gs_error_destroy(mailbox_read_detector(reader, data[0] % 64, &row));
	for (int i = 0; i < 70; i++) {
		for (int ring = 0; ring < GS_MAILBOX_RINGS; ring++)
			gs_error_destroy(mailbox_poll(reader, ring, see, (void *)&sum, &count));
	}
	gs_error_destroy(mailbox_read_metrics(reader, see_metric, (void *)&sum, &count));
	read_formats(reader);
	read_map(reader);
	mailbox_seek(reader, GS_MAILBOX_DATA, data[0]);
	gs_error_destroy(mailbox_poll(reader, GS_MAILBOX_DATA, see, (void *)&sum, &count));
	mailbox_reader_destroy(reader);
	return 0;
}
