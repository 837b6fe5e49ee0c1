// SPDX-License-Identifier: Apache-2.0
// Record buffers, as a detector that has gone wrong may leave them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct gs_fat_format formats[] = {
	{ .kind = GS_RECORD_ROW, .nargs = 3 },
	{ .kind = GS_RECORD_FINDING, .nargs = 1 },
	{ .kind = GS_RECORD_METRIC, .nargs = 2 },
	{ .kind = GS_RECORD_ROW, .nargs = 0 },
};

static const char *const texts[] = { "pid=%d comm=%-8s at=%pS", "%.3f", "idle{cpu=\"%u\"}",
				     "none" };

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "0x%llx", (unsigned long long)address);
}

static void see(void *arg, const struct gs_record *record)
{
	volatile size_t *sum = arg;

	*sum += strlen(record->text);
	for (size_t i = 0; i < record->count; i++) {
		const struct gs_item *item = &record->items[i];

		*sum += strlen(item->name) + strlen(item->text);
		for (size_t j = 0; item->string && j <= item->length; j++)
			*sum += (uint8_t)item->string[j];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct format *parsed[4];
	static struct gs_fat_header header = { .formats.count = 4 };
	struct gs_fat fat = { .header = &header, .formats = formats, .parsed = parsed };
	volatile size_t sum = 0;
	struct decode_run run = {
		.fat = &fat,
		.detector_name = "fuzz",
		.symbolize = symbolize,
		.fn = see,
		.arg = (void *)&sum,
	};
	uint64_t count;

	for (size_t i = 0; i < 4; i++) {
		if (!parsed[i] && format_parse(texts[i], formats[i].kind, &parsed[i]))
			abort();
	}

	gs_error_destroy(decode_records(&run, data, size, &count));
	return 0;
}
