// SPDX-License-Identifier: Apache-2.0
// Records out of chunks, and their order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <gpusentinel/ctx.h>

#include "engine/chunks.h"

struct buffer {
	uint64_t words[4096];
	size_t size;
};

// @return where its header is.
static struct gs_chunk *put_chunk(struct buffer *buffer, uint32_t size, uint32_t used,
				  uint64_t value)
{
	struct gs_chunk *chunk = (struct gs_chunk *)(buffer->words + buffer->size / 8);

	*chunk = (struct gs_chunk){ .size = (uint32_t)sizeof(*chunk) + size, .used = used };
	for (uint32_t i = 0; i < size / 8; i++)
		((uint64_t *)(chunk + 1))[i] = value + i;
	buffer->size += chunk->size;
	return chunk;
}

// In memory of its own, so that AddressSanitizer sees an access behind its end.
static size_t compact(struct buffer *buffer)
{
	uint8_t *exact = malloc(buffer->size ? buffer->size : 1);

	assert_non_null(exact);
	memcpy(exact, buffer->words, buffer->size);

	size_t size = gs_chunks_compact(exact, buffer->size);

	assert_true(size <= buffer->size);
	memcpy(buffer->words, exact, size);
	free(exact);
	return size;
}

static void chunks_become_one_piece(void **state)
{
	struct buffer buffer = {};

	(void)state;
	assert_int_equal(compact(&buffer), 0);
	put_chunk(&buffer, 32, 16, 100);
	put_chunk(&buffer, 64, 0, 200);
	put_chunk(&buffer, 8, 8, 300);
	put_chunk(&buffer, 0, 0, 400);
	put_chunk(&buffer, 24, 24, 500);
	assert_int_equal(compact(&buffer), 48);

	static const uint64_t expected[] = { 100, 101, 300, 500, 501, 502 };

	assert_memory_equal(buffer.words, expected, sizeof(expected));
}

static void damaged_chunks_end_it(void **state)
{
	static const struct gs_chunk bad[] = {
		{ .size = 0 },
		{ .size = 8 },
		{ .size = 15 },
		{ .size = 36 },
		{ .size = 48 },
		{ .size = UINT32_MAX },
		{ .size = UINT32_MAX - 7 },
		{ .size = 40, .used = 32 },
		{ .size = 40, .used = 4 },
		{ .size = 40, .used = UINT32_MAX - 7 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buffer buffer = {};

		put_chunk(&buffer, 16, 16, 1);
		*put_chunk(&buffer, 24, 24, 100) = bad[i];
		assert_int_equal(compact(&buffer), 16);
		assert_int_equal(buffer.words[1], 2);
	}
	// A header that is cut.
	for (size_t cut = 1; cut < sizeof(struct gs_chunk); cut++) {
		struct buffer buffer = {};

		put_chunk(&buffer, 16, 16, 1);
		put_chunk(&buffer, 0, 0, 1);
		buffer.size -= cut;
		assert_int_equal(compact(&buffer), 16);
	}
}

static void rubbish_is_survived(void **state)
{
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct buffer buffer = { .size = (size_t)(rand_r(&seed) % 200) };

		// Sizes that are nearly right go furthest.
		for (size_t i = 0; i < 25; i++)
			buffer.words[i] = (uint64_t)(rand_r(&seed) % 12 * 4) |
					  (uint64_t)(rand_r(&seed) % 12 * 4) << 32;

		size_t size = compact(&buffer);

		assert_true(size % 8 == 0);
		assert_null(gs_records_sort(buffer.words, size));
	}
}

static void put_record(struct buffer *buffer, uint32_t format, uint32_t items,
		       const uint64_t *values)
{
	struct gs_record_header *header =
		(struct gs_record_header *)(buffer->words + buffer->size / 8);

	*header = (struct gs_record_header){
		.size = (uint32_t)sizeof(*header) + items * 8,
		.format = format,
		.time_ns = buffer->size,
	};
	memcpy(header + 1, values, items * 8);
	buffer->size += header->size;
}

static void records_are_sorted_by_format_and_items(void **state)
{
	static const struct {
		uint32_t format, count;
		uint64_t items[3];
	} in[] = {
		{ 2, 1, { 0 } },	  { 1, 2, { 256, 1 } }, { 1, 2, { 3, UINT64_MAX } },
		{ 0, 3, { 9, 9, 9 } },	  { 1, 1, { 3 } },	{ 1, 2, { 3, 5 } },
		{ 1, 2, { 1ull << 40 } }, { 0, 0, {} },
	};
	static const int order[] = { 7, 3, 4, 5, 2, 1, 6, 0 };
	struct buffer buffer = {};

	(void)state;
	for (size_t i = 0; i < 8; i++)
		put_record(&buffer, in[i].format, in[i].count, in[i].items);

	// What cannot be a record stays behind them.
	size_t whole = buffer.size;

	put_record(&buffer, 0, 1, in[0].items);
	((struct gs_record_header *)(buffer.words + whole / 8))->size = 4;
	assert_null(gs_records_sort(buffer.words, buffer.size));

	size_t at = 0;

	for (size_t i = 0; i < 8; i++) {
		const struct gs_record_header *header =
			(const struct gs_record_header *)(buffer.words + at / 8);

		assert_int_equal(header->format, in[order[i]].format);
		assert_int_equal(header->size, sizeof(*header) + in[order[i]].count * 8);
		assert_memory_equal(header + 1, in[order[i]].items, in[order[i]].count * 8);
		at += header->size;
	}
	assert_int_equal(at, whole);
	assert_int_equal(((struct gs_record_header *)(buffer.words + whole / 8))->size, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_become_one_piece),
		cmocka_unit_test(damaged_chunks_end_it),
		cmocka_unit_test(rubbish_is_survived),
		cmocka_unit_test(records_are_sorted_by_format_and_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
