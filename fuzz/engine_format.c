// SPDX-License-Identifier: Apache-2.0
// Formats, and the formatting of arbitrary values with those that are accepted. Input: the format
// up to its NUL, then eight bytes for each value, then the bytes of the strings.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "0x%llx", (unsigned long long)address);
}

// Whatever came in, a terminal gets no control characters.
static void check(const struct text *text)
{
	for (size_t i = 0; i < text->size; i++)
		assert((uint8_t)text->data[i] >= 0x20 && text->data[i] != 0x7f);
}

static void format_all(const struct format *format, const uint8_t *data, size_t size)
{
	struct text text = {};

	for (size_t i = 0; i < format->count; i++) {
		struct format_value value = { .bytes = (const char *)data, .length = size };

		if (size >= sizeof(value.u)) {
			memcpy(&value.u, data, sizeof(value.u));
			data += sizeof(value.u);
			size -= sizeof(value.u);
		}
		value.bytes = (const char *)data;
		value.length = size < 4096 ? size : 4096;
		format_add_item(&format->items[i], &value, symbolize, NULL, &text);
		assert(strlen(format->items[i].name));
	}
	check(&text);
	free(text.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);

	if (!end || !size)
		return 0;
	for (uint32_t kind = GS_RECORD_ROW; kind <= GS_RECORD_ALARM; kind++) {
		struct format *format = NULL;
		struct gs_error *err = format_parse((const char *)data, kind, &format);

		if (err)
			gs_error_destroy(err);
		else
			format_all(format, end + 1, size - (size_t)(end + 1 - data));
		format_destroy(format);
	}
	return 0;
}
