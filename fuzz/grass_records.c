// SPDX-License-Identifier: Apache-2.0
// A detector's formats and a record, as they lie in the mailbox of a host that has been taken over. Input: the formats
// with their entries, which are given the checksum that their row says; a record follows them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grass_cli/records.h"
#include "mailbox/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	struct gs_mailbox_header header;
	struct gs_mailbox_detector row;
	const uint8_t *formats;
	size_t formats_size;
};

static void copy(const void *from, size_t from_size, uint64_t from_at, uint64_t at, void *buf,
		 size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (at + i >= from_at && at + i - from_at < from_size)
			((uint8_t *)buf)[i] = ((const uint8_t *)from)[at + i - from_at];
	}
}

static struct gs_error *read_memory(void *arg, uint64_t offset, void *buf, size_t size)
{
	const struct memory *memory = arg;
	const struct gs_mailbox_header *header = &memory->header;

	memset(buf, 0, size);
	copy(header, sizeof(*header), 0, offset, buf, size);
	copy(&memory->row, sizeof(memory->row), header->detectors.offset, offset, buf, size);
	copy(memory->formats, memory->formats_size, mailbox_formats_offset(header, 0), offset, buf,
	     size);
	return NULL;
}

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "0x%llx", (unsigned long long)address);
}

static void see(void *arg, const struct gs_record *record)
{
	volatile size_t *sum = arg;

	*sum += strlen(gs_record_text(record)) + strlen(record->alarm);
	for (size_t i = 0; i < record->count; i++)
		*sum += strlen(record->items[i].name) + strlen(gs_record_item_text(record, i));
}

// The row says what the formats' checksum is, whatever they are.
static void make_row(struct memory *memory)
{
	uint64_t room = mailbox_formats_room(&memory->header);
	uint64_t *words = calloc(1, room);

	memory->row = (struct gs_mailbox_detector){
		.name = "fuzz",
		.state = GS_MAILBOX_WAITING,
		.generation = 1,
	};
	if (words && memory->formats_size <= room) {
		memcpy(words, memory->formats, memory->formats_size);

		uint32_t used = *(uint32_t *)words;

		memory->row.formats_crc =
			gs_crc32c_words(mailbox_crc32c(), words, (used < room ? used : room) / 8);
	}
	memory->row.crc = mailbox_crc(&memory->row, sizeof(memory->row), &memory->row.crc);
	free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t slots[] = { 16, 64 };
	struct memory memory = { .formats = data };
	struct mailbox_reader *reader;
	volatile size_t sum = 0;
	uint32_t formats_size = 0;

	if (size < sizeof(struct gs_mailbox_formats))
		return 0;
	memcpy(&formats_size, data, sizeof(formats_size));
	memory.formats_size = formats_size < size ? formats_size : size;
	mailbox_layout(&memory.header, GS_MAILBOX_CPU, slots);
	mailbox_seal_header(&memory.header);
	make_row(&memory);

	struct gs_error *err = mailbox_reader_create(read_memory, &memory, &reader);

	if (err)
		abort();
	mailbox_set_patience(reader, 0);

	struct records records = {
		.reader = reader,
		.symbolize = symbolize,
		.kinds = UINT32_MAX,
		.fn = see,
		.arg = (void *)&sum,
	};
	// As the reader lets it pass: aligned, of a size that records may have.
	uint64_t room = (size - memory.formats_size) & ~UINT64_C(7);
	struct gs_mailbox_entry entry = {
		.commit = 1,
		.size = room < GS_RECORD_MAX_SIZE ? (uint32_t)room : GS_RECORD_MAX_SIZE,
		.generation = 1,
	};
	uint64_t *record = malloc(entry.size + 8);

	if (record && entry.size >= sizeof(struct gs_record_header)) {
		memcpy(record, data + memory.formats_size, entry.size);
		gs_error_destroy(records_take(&records, &entry, record));
	}
	free(record);
	records_deinit(&records);
	mailbox_reader_destroy(reader);
	return 0;
}
