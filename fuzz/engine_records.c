// SPDX-License-Identifier: Apache-2.0
// Record buffers, as a detector that has gone wrong may leave them. Input: the number of formats; each
// format's kind and its text with the NUL; then the buffer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chunks.h"
#include "engine/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_FORMATS = 16,
};

struct formats {
	struct gs_fat_format formats[MAX_FORMATS];
	struct format *parsed[MAX_FORMATS];
	uint32_t count;
};

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "0x%llx", (unsigned long long)address);
}

static void see(void *arg, const struct gs_record *record)
{
	volatile size_t *sum = arg;

	*sum += strlen(gs_record_text(record)) + strlen(record->alarm) + record->key;
	for (size_t i = 0; i < record->count; i++) {
		const struct gs_item *item = &record->items[i];

		*sum += strlen(item->name) + strlen(gs_record_item_text(record, i));
		for (size_t j = 0; item->string && j <= item->length; j++)
			*sum += (uint8_t)item->string[j];
	}
}

// What the loader lets pass: formats of a known kind that can be parsed. Returns the bytes taken.
static size_t take_formats(const uint8_t *data, size_t size, struct formats *formats)
{
	size_t at = 1;
	size_t count = size ? data[0] % (MAX_FORMATS + 1) : 0;

	for (size_t i = 0; i < count && at < size; i++) {
		const uint8_t *text = data + at + 1;
		const uint8_t *end = memchr(text, 0, size - at - 1);
		uint32_t kind = data[at] % GS_RECORD_ALARM + 1;

		if (!end)
			break;
		at = end + 1 - data;

		struct format *parsed;
		struct gs_error *err = format_parse((const char *)text, kind, &parsed);

		if (err) {
			gs_error_destroy(err);
			continue;
		}
		formats->formats[formats->count] =
			(struct gs_fat_format){ .kind = kind, .nargs = parsed->count };
		formats->parsed[formats->count++] = parsed;
	}
	return at < size ? at : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct formats formats = { .count = 0 };
	size_t taken = take_formats(data, size, &formats);
	struct gs_fat_header header = { .formats.count = formats.count };
	struct gs_fat fat = { .header = &header,
			      .formats = formats.formats,
			      .parsed = formats.parsed };
	volatile size_t sum = 0;
	struct decode_run run = {
		.fat = &fat,
		.detector_name = "fuzz",
		.symbolize = symbolize,
		.fn = see,
		.kinds = UINT32_MAX,
		.arg = (void *)&sum,
	};
	uint64_t count, damaged;

	size -= taken;

	// Aligned, as engines have it, and with nothing behind it.
	uint8_t *buffer = malloc(size ? size : 1);

	if (buffer) {
		memcpy(buffer, data + taken, size);
		gs_error_destroy(decode_records(&run, buffer, size, &count, &damaged));
		// The same as what many threads wrote.
		size = gs_chunks_compact(buffer, size);
		gs_error_destroy(gs_records_sort(buffer, size));
		gs_error_destroy(decode_records(&run, buffer, size, &count, &damaged));
	}
	free(buffer);
	for (uint32_t i = 0; i < formats.count; i++)
		format_destroy(formats.parsed[i]);
	return 0;
}
