// SPDX-License-Identifier: Apache-2.0
#include "engine/chunks.h"

#include <stdlib.h>
#include <string.h>

#include <gpusentinel/ctx.h>

#include "util/array.h"
#include "util/cleanup.h"

size_t gs_chunks_compact(void *out, size_t used)
{
	uint8_t *bytes = out;
	size_t end = 0;

	for (size_t at = 0; used - at >= sizeof(struct gs_chunk);) {
		struct gs_chunk chunk;

		memcpy(&chunk, bytes + at, sizeof(chunk));
		if (chunk.size < sizeof(chunk) || chunk.size % 8 || chunk.size > used - at ||
		    chunk.used > chunk.size - sizeof(chunk) || chunk.used % 8)
			break;
		memmove(bytes + end, bytes + at + sizeof(chunk), chunk.used);
		end += chunk.used;
		at += chunk.size;
	}
	return end;
}

static struct gs_record_header header_at(const uint8_t *record)
{
	struct gs_record_header header;

	memcpy(&header, record, sizeof(header));
	return header;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare(const void *a, const void *b)
{
	const uint8_t *one = *(const uint8_t *const *)a, *other = *(const uint8_t *const *)b;
	struct gs_record_header x = header_at(one), y = header_at(other);
	uint32_t size = x.size < y.size ? x.size : y.size;
	int order = compare_numbers(x.format, y.format);

	for (uint32_t i = sizeof(x); i < size && !order; i += 8) {
		uint64_t words[2];

		memcpy(&words[0], one + i, 8);
		memcpy(&words[1], other + i, 8);
		order = compare_numbers(words[0], words[1]);
	}
	if (!order)
		order = compare_numbers(x.size, y.size);
	if (!order)
		order = compare_numbers(x.severity, y.severity);
	return order ? order : compare_numbers(x.flags, y.flags);
}

static size_t record_size(const uint8_t *record, size_t room)
{
	if (room < sizeof(struct gs_record_header))
		return 0;

	struct gs_record_header header = header_at(record);

	return header.size >= sizeof(header) && header.size % 8 == 0 && header.size <= room
		       ? header.size
		       : 0;
}

struct gs_error *gs_records_sort(void *out, size_t size)
{
	_cleanup_free_ const uint8_t **records = NULL;
	size_t count = 0, capacity = 0, end = 0, one;
	uint8_t *bytes = out;

	while ((one = record_size(bytes + end, size - end))) {
		if (!gs_array_push(records, count, capacity, bytes + end))
			return &gs_enomem;
		end += one;
	}
	if (count < 2)
		return NULL;

	_cleanup_free_ uint8_t *sorted = malloc(end);

	if (!sorted)
		return &gs_enomem;
	qsort(records, count, sizeof(*records), compare);
	end = 0;
	for (size_t i = 0; i < count; i++) {
		one = header_at(records[i]).size;
		memcpy(sorted + end, records[i], one);
		end += one;
	}
	memcpy(out, sorted, end);
	return NULL;
}
