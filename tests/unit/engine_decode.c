// SPDX-License-Identifier: Apache-2.0
// Decoding of record buffers, good ones and what a broken detector might leave in them.
#include "engine_builder.h"

#include <stdio.h>

#include "engine/decode.h"

struct seen {
	size_t count;
	char text[256], comm[64], comm_text[64], symbol[64];
	int64_t pid;
	uint32_t flags;
	enum gs_record_kind kind;
	enum gs_severity severity;
	enum gs_state state;
	char alarm[16];
	uint64_t key, lasted_ns;
	uint64_t time_ns, wall_ns, run;
	bool cut, fault;
};

struct buffer {
	uint8_t bytes[4096];
	size_t size;
};

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	(void)arg;
	snprintf(buf, len, "f+0x%llx", (unsigned long long)address);
}

static void see(void *arg, const struct gs_record *record)
{
	struct seen *seen = arg;

	seen->count++;
	seen->kind = record->kind;
	seen->severity = record->severity;
	seen->state = record->state;
	snprintf(seen->alarm, sizeof(seen->alarm), "%s", record->alarm);
	seen->key = record->key;
	seen->lasted_ns = record->lasted_ns;
	seen->flags = record->flags;
	seen->time_ns = record->time_ns;
	seen->wall_ns = record->wall_ns;
	seen->run = record->run;
	snprintf(seen->text, sizeof(seen->text), "%s", gs_record_text(record));
	for (size_t i = 0; i < record->count; i++) {
		const struct gs_item *item = &record->items[i];

		if (!strcmp(item->name, "pid"))
			seen->pid = item->i;
		if (item->type == GS_ITEM_SYMBOL)
			snprintf(seen->symbol, sizeof(seen->symbol), "%s", item->string);
		if (item->type == GS_ITEM_STRING) {
			assert_int_equal(item->string[item->length], 0);
			snprintf(seen->comm, sizeof(seen->comm), "%s", item->string);
			snprintf(seen->comm_text, sizeof(seen->comm_text), "%s",
				 gs_record_item_text(record, i));
			seen->cut = item->cut;
			seen->fault = item->fault;
		}
	}
}

static struct gs_fat *formats(void)
{
	struct builder b;

	builder_init(&b);
	builder_detector(&b, "sample", "gs_run_sample");
	builder_format(&b, GS_RECORD_ROW, "pid=%d comm=%-6s at %pS.", 3);
	builder_format(&b, GS_RECORD_FINDING, "all is lost", 0);
	builder_format(&b, GS_RECORD_METRIC, "idle{cpu=\"%d\"}", 2);
	builder_format(&b, GS_RECORD_ALARM, "hung: task waits: pid=%d comm=%s", 5);
	builder_format(&b, GS_RECORD_ALARM, "hung: ", 3);
	return builder_open(&b);
}

static void put(struct buffer *buffer, uint64_t word)
{
	memcpy(buffer->bytes + buffer->size, &word, 8);
	buffer->size += 8;
}

static struct gs_record_header *begin(struct buffer *buffer, uint16_t kind, uint32_t format,
				      uint16_t nargs)
{
	struct gs_record_header *header = (struct gs_record_header *)(buffer->bytes + buffer->size);

	*header = (struct gs_record_header){
		.kind = kind,
		.format = format,
		.nargs = nargs,
		.time_ns = 1000,
		.run = 3,
	};
	buffer->size += sizeof(*header);
	return header;
}

static void end(struct buffer *buffer, struct gs_record_header *header)
{
	header->size = (uint32_t)(buffer->bytes + buffer->size - (uint8_t *)header);
}

static struct gs_record_header *put_row(struct buffer *buffer)
{
	struct gs_record_header *header = begin(buffer, GS_RECORD_ROW, 0, 3);

	put(buffer, (uint64_t)-7);
	put(buffer, 3 | GS_RECORD_STRING_CUT);
	memcpy(buffer->bytes + buffer->size, "a\033b\0\0\0\0\0", 8);
	buffer->size += 8;
	put(buffer, 0x10);
	end(buffer, header);
	return header;
}

static struct gs_error *decode(const struct gs_fat *fat, const struct buffer *buffer, size_t size,
			       struct seen *seen)
{
	struct decode_run run = {
		.fat = fat,
		.detector_name = "sample",
		.wall_offset_ns = 50,
		.symbolize = symbolize,
		.fn = see,
		.arg = seen,
		.kinds = UINT32_MAX,
	};
	uint64_t count, damaged;
	// Exact, so that AddressSanitizer sees a read behind the end.
	uint8_t *bytes = malloc(size ? size : 1);

	assert_non_null(bytes);
	memcpy(bytes, buffer->bytes, size);
	memset(seen, 0, sizeof(*seen));

	struct gs_error *err = decode_records(&run, bytes, size, &count, &damaged);

	assert_int_equal(count, seen->count);
	assert_int_equal(damaged != 0, err != NULL);
	free(bytes);
	return err;
}

static void rows_findings_and_metrics(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer = {};
	struct seen seen;

	(void)state;
	put_row(&buffer)->flags = GS_RECORD_F_FAULT;
	assert_null(decode(fat, &buffer, buffer.size, &seen));
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.kind, GS_RECORD_ROW);
	assert_int_equal(seen.pid, -7);
	assert_string_equal(seen.comm, "a\033b");
	assert_string_equal(seen.comm_text, "a\\x1bb");
	assert_string_equal(seen.symbol, "f+0x10");
	assert_string_equal(seen.text, "pid=-7 comm=a\\x1bb at f+0x10.");
	assert_true(seen.cut);
	assert_false(seen.fault);
	assert_int_equal(seen.flags, GS_RECORD_F_FAULT);
	assert_int_equal(seen.time_ns, 1000);
	assert_int_equal(seen.wall_ns, 1050);
	assert_int_equal(seen.run, 3);

	struct gs_record_header *header = begin(&buffer, GS_RECORD_FINDING, 1, 0);

	header->severity = GS_CRITICAL;
	end(&buffer, header);
	assert_null(decode(fat, &buffer, buffer.size, &seen));
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.severity, GS_CRITICAL);
	assert_string_equal(seen.text, "all is lost");

	header = begin(&buffer, GS_RECORD_METRIC, 2, 2);
	put(&buffer, UINT64_MAX);
	put(&buffer, 1);
	end(&buffer, header);
	assert_null(decode(fat, &buffer, buffer.size, &seen));
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.text, "idle{cpu=\"1\"}");

	assert_null(decode(fat, &buffer, 0, &seen));
	assert_int_equal(seen.count, 0);
	gs_fat_close(fat);
}

static struct gs_record_header *put_alarm(struct buffer *buffer, uint64_t state, uint32_t format)
{
	struct gs_record_header *header =
		begin(buffer, GS_RECORD_ALARM, format, format == 3 ? 5 : 3);

	header->severity = GS_ERROR;
	put(buffer, state);
	put(buffer, 77);
	put(buffer, 1234);
	if (format == 3) {
		put(buffer, 42);
		put(buffer, 2);
		put(buffer, 'c' | 'p' << 8);
	}
	end(buffer, header);
	return header;
}

static void conditions_are_findings(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer = {};
	struct seen seen;

	(void)state;
	put_alarm(&buffer, GS_CHANGED, 3);
	assert_null(decode(fat, &buffer, buffer.size, &seen));
	assert_int_equal(seen.kind, GS_RECORD_FINDING);
	assert_int_equal(seen.severity, GS_ERROR);
	assert_int_equal(seen.state, GS_CHANGED);
	assert_string_equal(seen.alarm, "hung");
	assert_int_equal(seen.key, 77);
	assert_int_equal(seen.lasted_ns, 1234);
	assert_string_equal(seen.text, "task waits: pid=42 comm=cp");
	assert_int_equal(seen.pid, 42);
	assert_string_equal(seen.comm_text, "cp");

	buffer.size = 0;
	put_alarm(&buffer, GS_CLOSED, 4);
	assert_null(decode(fat, &buffer, buffer.size, &seen));
	assert_int_equal(seen.state, GS_CLOSED);
	assert_string_equal(seen.text, "");

	static const uint64_t wrong[] = { GS_EVENT, GS_CLOSED + 1, UINT64_MAX };

	for (size_t i = 0; i < 3; i++) {
		buffer.size = 0;
		put_alarm(&buffer, wrong[i], 3);
		assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR,
			     "its state does not exist");
	}
	buffer.size = 0;
	put_alarm(&buffer, GS_OPEN, 3)->severity = 0;
	assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR, "severity");
	buffer.size = 0;
	put_alarm(&buffer, GS_OPEN, 3)->kind = GS_RECORD_FINDING;
	assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR, "kind");
	gs_fat_close(fat);
}

static void what_came_before_the_damage_is_delivered(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer = {};
	struct seen seen;

	(void)state;
	put_row(&buffer);
	put_row(&buffer)->size = 24;
	assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR,
		     "sample: record at byte 64 is damaged");
	assert_int_equal(seen.count, 1);
	gs_fat_close(fat);
}

static void damaged_records_are_refused(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer;
	struct seen seen;

	(void)state;
#define DAMAGED(change)                                                                   \
	do {                                                                              \
		buffer.size = 0;                                                          \
		struct gs_record_header *header = put_row(&buffer);                       \
		uint64_t *items = (uint64_t *)(header + 1);                               \
		(void)items;                                                              \
		change;                                                                   \
		assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR, \
			     "record at byte 0 is damaged");                              \
		assert_int_equal(seen.count, 0);                                          \
	} while (0)

	DAMAGED(header->size = 0);
	DAMAGED(header->size = 33);
	DAMAGED(header->size += 8);
	DAMAGED(header->size -= 8);
	DAMAGED(header->size = UINT32_MAX - 7);
	DAMAGED(header->kind = 0);
	DAMAGED(header->kind = GS_RECORD_FINDING);
	DAMAGED(header->format = 1);
	DAMAGED(header->format = UINT32_MAX);
	DAMAGED(header->nargs = 2);
	DAMAGED(header->nargs = UINT16_MAX);
	DAMAGED(items[1] = 9);
	DAMAGED(items[1] = 17);
	DAMAGED(items[1] = GS_RECORD_STRING_LEN);
	DAMAGED(items[1] = GS_RECORD_MAX_STRING + 1);
	DAMAGED(items[1] = 0);
#undef DAMAGED

	struct gs_record_header *header;

	buffer.size = 0;
	header = begin(&buffer, GS_RECORD_FINDING, 1, 0);
	header->severity = GS_CRITICAL + 1;
	end(&buffer, header);
	assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR, "severity");
	gs_fat_close(fat);
}

static void what_follows_a_damaged_record_is_delivered(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer = {};
	struct seen seen;

	(void)state;
	put_row(&buffer);
	put_row(&buffer)->nargs = 9;
	put_row(&buffer);
	put_row(&buffer)->kind = 0;
	put_row(&buffer);
	assert_error(decode(fat, &buffer, buffer.size, &seen), GS_ERROR_DETECTOR,
		     "record at byte 64 is damaged: its number of items");
	assert_int_equal(seen.count, 3);
	gs_fat_close(fat);
}

static void cut_buffers_are_refused(void **state)
{
	struct gs_fat *fat = formats();
	struct buffer buffer = {};
	struct seen seen;

	(void)state;
	put_row(&buffer);
	for (size_t size = 1; size < buffer.size; size++)
		assert_error(decode(fat, &buffer, size, &seen), GS_ERROR_DETECTOR, "damaged");
	gs_fat_close(fat);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_findings_and_metrics),
		cmocka_unit_test(conditions_are_findings),
		cmocka_unit_test(what_came_before_the_damage_is_delivered),
		cmocka_unit_test(damaged_records_are_refused),
		cmocka_unit_test(what_follows_a_damaged_record_is_delivered),
		cmocka_unit_test(cut_buffers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
