// SPDX-License-Identifier: Apache-2.0
// The mailbox: what writers put in comes out, what is overwritten is counted, what is damaged is refused.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailbox.h"
#include "mailbox/layout.h"
#include "mailbox/reader.h"

enum { FINDING_SLOTS = 64, DATA_SLOTS = 256, RECORD_MAX = 1024 };

struct box {
	struct gs_mailbox_header header;
	uint8_t *memory;
	struct mailbox_reader *reader;
	struct gs_mailbox_writer writers[4];
	// Called before each read of the reader.
	void (*before_read)(struct box *box);
	unsigned int reads;
};

static struct gs_error *read_box(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct box *box = arg;

	assert_true(offset <= box->header.size && size <= box->header.size - offset);
	box->reads++;
	if (box->before_read)
		box->before_read(box);
	memcpy(buf, box->memory + offset, size);
	return NULL;
}

static struct mailbox_reader *open_reader(struct box *box)
{
	struct mailbox_reader *reader;
	struct gs_error *err = mailbox_reader_create(read_box, box, &reader);

	if (err)
		fail_msg("%s", err->message);
	return reader;
}

static void box_init(struct box *box)
{
	static const uint64_t slots[] = { FINDING_SLOTS, DATA_SLOTS };

	memset(box, 0, sizeof(*box));
	mailbox_layout(&box->header, GS_MAILBOX_CPU, slots);
	mailbox_seal_header(&box->header);
	box->memory = aligned_alloc(64, box->header.size);
	assert_non_null(box->memory);
	memset(box->memory, 0, box->header.size);
	memcpy(box->memory, &box->header, sizeof(box->header));
	for (uint32_t i = 0; i < 4; i++) {
		static const struct gs_mailbox_formats none = { .size = sizeof(none) };
		struct gs_mailbox_detector *row =
			(struct gs_mailbox_detector *)(box->memory + box->header.detectors.offset) +
			i;

		mailbox_row(row, "sample", 100000, 1, 1, &none);
		mailbox_writer(&box->writers[i], &box->header, (uint64_t)box->memory,
			       (uint64_t)mailbox_crc32c(), i, row->generation);
	}
	box->reader = open_reader(box);
}

static void box_deinit(struct box *box)
{
	mailbox_reader_destroy(box->reader);
	free(box->memory);
}

struct record {
	struct gs_record_header header;
	uint64_t items[RECORD_MAX];
};

static struct record *record_of(struct record *record, uint16_t kind, uint32_t items,
				uint64_t value)
{
	record->header = (struct gs_record_header){
		.size = (uint32_t)(sizeof(record->header) + items * 8),
		.kind = kind,
		.nargs = (uint16_t)items,
		.run = value,
	};
	for (uint32_t i = 0; i < items; i++)
		record->items[i] = value * 1000 + i;
	return record;
}

static bool put(struct box *box, uint32_t detector, uint16_t kind, uint32_t items, uint64_t value)
{
	struct record record;

	return gs_mailbox_write(&box->writers[detector],
				&record_of(&record, kind, items, value)->header);
}

struct seen {
	uint64_t count, last[GS_MAILBOX_DETECTORS], per[GS_MAILBOX_DETECTORS];
};

// Whatever arrives is whole, and in its detector's order.
static struct gs_error *see(void *arg, const struct gs_mailbox_entry *entry, const void *data)
{
	struct seen *seen = arg;
	const struct record *record = data;
	uint32_t detector = entry->detector;

	assert_int_equal(record->header.size, entry->size);
	for (uint32_t i = 0; i < record->header.nargs; i++)
		assert_int_equal(record->items[i], record->header.run * 1000 + i);
	assert_true(!seen->per[detector] || record->header.run > seen->last[detector]);
	seen->last[detector] = record->header.run;
	seen->per[detector]++;
	seen->count++;
	return NULL;
}

static uint64_t poll_ring(struct box *box, enum gs_mailbox_ring_index ring, struct seen *seen)
{
	uint64_t count;
	struct gs_error *err = mailbox_poll(box->reader, ring, see, seen, &count);

	if (err)
		fail_msg("%s", err->message);
	return count;
}

static void checksums_are_crc32c(void **state)
{
	// RFC 3720, B.4: 32 bytes of zeroes, of ones, and ascending.
	uint64_t words[4] = {};

	(void)state;
	assert_int_equal(gs_crc32c_words(mailbox_crc32c(), words, 4), 0x8a9136aa);
	memset(words, 0xff, sizeof(words));
	assert_int_equal(gs_crc32c_words(mailbox_crc32c(), words, 4), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		((uint8_t *)words)[i] = i;
	assert_int_equal(gs_crc32c_words(mailbox_crc32c(), words, 4), 0x46dd794e);
}

static void records_come_out_in_order(void **state)
{
	struct box box;
	struct seen findings = {}, data = {};

	(void)state;
	box_init(&box);
	assert_int_equal(poll_ring(&box, GS_MAILBOX_FINDINGS, &findings), 0);
	// Sizes that end in, at and behind a slot, around the ring several times.
	for (uint64_t i = 1; i <= 200; i++) {
		assert_true(put(&box, i % 3, GS_RECORD_ROW, i % 40, i));
		assert_true(put(&box, 0, GS_RECORD_FINDING, i % 7, i));
		assert_int_equal(poll_ring(&box, GS_MAILBOX_DATA, &data), 1);
		assert_int_equal(poll_ring(&box, GS_MAILBOX_FINDINGS, &findings), 1);
	}
	assert_int_equal(findings.per[0], 200);
	assert_int_equal(data.per[0] + data.per[1] + data.per[2], 200);
	assert_int_equal(mailbox_missed(box.reader, 0), 0);
	// One that takes more than half the ring is refused.
	assert_false(put(&box, 0, GS_RECORD_FINDING, FINDING_SLOTS * 4, 1));
	assert_int_equal(poll_ring(&box, GS_MAILBOX_FINDINGS, &findings), 0);
	box_deinit(&box);
}

static void overwritten_records_are_counted(void **state)
{
	struct box box;
	struct seen seen = {};

	(void)state;
	box_init(&box);
	for (uint64_t i = 1; i <= 1000; i++)
		put(&box, i % 2, GS_RECORD_ROW, 1 + i % 20, i);

	uint64_t got = poll_ring(&box, GS_MAILBOX_DATA, &seen);

	// What is left fills the ring nearly: it was cut in the middle of one record at most.
	assert_in_range(got, 80, 130);
	assert_int_equal(mailbox_missed(box.reader, 0) + mailbox_missed(box.reader, 1) + got, 1000);
	put(&box, 0, GS_RECORD_ROW, 3, 1001);
	assert_int_equal(poll_ring(&box, GS_MAILBOX_DATA, &seen), 1);
	assert_int_equal(seen.last[0], 1001);
	// Rows push out no findings.
	put(&box, 3, GS_RECORD_FINDING, 2, 7);
	for (uint64_t i = 1; i <= 1000; i++)
		put(&box, 2, GS_RECORD_ROW, 9, i);
	assert_int_equal(poll_ring(&box, GS_MAILBOX_FINDINGS, &seen), 1);
	box_deinit(&box);
}

static void overwrite_while_reading(struct box *box)
{
	static uint64_t value = 100000;

	// Each read finds the ring written over since the one before.
	for (int i = 0; i < 300; i++)
		put(box, 0, GS_RECORD_ROW, 5, value++);
}

static void a_reader_that_is_too_slow_gets_away(void **state)
{
	struct box box;
	struct seen seen = {};

	(void)state;
	box_init(&box);
	box.before_read = overwrite_while_reading;
	box.reads = 0;
	for (int i = 0; i < 5; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_true(box.reads < 5 * 64);
	box.before_read = NULL;
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(mailbox_missed(box.reader, 0) + seen.count,
			 ((struct gs_mailbox_detector *)(box.memory + box.header.detectors.offset))
				 ->records[GS_MAILBOX_DATA]);
	box_deinit(&box);
}

// What was there before is neither delivered nor missed; what is overwritten afterwards is a gap.
static void a_reader_may_begin_anywhere(void **state)
{
	struct box box;
	struct seen seen = {};
	const struct gs_mailbox_ring *ring;
	uint64_t second;

	(void)state;
	box_init(&box);
	ring = (const void *)(box.memory + box.header.rings[GS_MAILBOX_DATA].offset);
	put(&box, 1, GS_RECORD_ROW, 8, 1);
	second = ring->head;
	put(&box, 1, GS_RECORD_ROW, 8, 2);
	put(&box, 1, GS_RECORD_ROW, 8, 3);
	mailbox_seek(box.reader, GS_MAILBOX_DATA, second);
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(seen.count, 2);
	// Not where an entry begins.
	seen = (struct seen){};
	mailbox_seek(box.reader, GS_MAILBOX_DATA, second - 1);
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(seen.count, 2);

	put(&box, 1, GS_RECORD_ROW, 1, 4);
	assert_null(mailbox_skip(box.reader, GS_MAILBOX_DATA));
	put(&box, 1, GS_RECORD_ROW, 1, 5);
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.last[1], 5);
	assert_int_equal(mailbox_missed(box.reader, 1), 0);
	assert_int_equal(mailbox_gaps(box.reader, GS_MAILBOX_DATA), 0);

	for (uint64_t i = 0; i < 2 * DATA_SLOTS; i++)
		put(&box, 1, GS_RECORD_ROW, 1, 6 + i);
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(mailbox_gaps(box.reader, GS_MAILBOX_DATA), 1);
	assert_true(mailbox_missed(box.reader, 1) > 0);
	box_deinit(&box);
}

static struct gs_mailbox_memory *box_memory(struct box *box)
{
	return (struct gs_mailbox_memory *)(box->memory + box->header.memory.offset);
}

static void refuses_memory(struct box *box, bool seal, const char *says)
{
	struct gs_mailbox_memory *memory = box_memory(box), *got = NULL;
	struct gs_error *err;

	if (seal)
		memory->crc = mailbox_crc(memory,
					  sizeof(*memory) + memory->segment_count *
								    sizeof(memory->segments[0]),
					  &memory->crc);
	err = mailbox_read_memory(box->reader, &got);
	assert_non_null(err);
	assert_non_null(strstr(err->message, says));
	assert_null(got);
	gs_error_destroy(err);
}

static void the_map_of_memory_is_checked(void **state)
{
	struct gs_mailbox_memory *memory, *got;
	struct box box;

	(void)state;
	box_init(&box);
	memory = box_memory(&box);
	refuses_memory(&box, false, "does not say what memory there is");
	memory->segment_count = 2;
	memory->segments[0] = (struct gs_mailbox_segment){ 0x1000, 0x2000 };
	memory->segments[1] = (struct gs_mailbox_segment){ 0x100000000, 0x1000 };
	refuses_memory(&box, false, "damaged");
	memory->note_phys = 42;
	memory->crc = mailbox_crc(memory, sizeof(*memory) + 2 * sizeof(memory->segments[0]),
				  &memory->crc);
	assert_null(mailbox_read_memory(box.reader, &got));
	assert_int_equal(got->note_phys, 42);
	assert_int_equal(got->segments[1].phys, 0x100000000);
	free(got);

	memory->segments[1].phys = 0x2000;
	refuses_memory(&box, true, "damaged");
	memory->segments[1].phys = 0x4001;
	refuses_memory(&box, true, "damaged");
	memory->segments[1] = (struct gs_mailbox_segment){ 0x4000, 0 };
	refuses_memory(&box, true, "damaged");
	memory->segments[1] = (struct gs_mailbox_segment){ 0x4000, -UINT64_C(0x4000) };
	refuses_memory(&box, true, "damaged");
	memory->segment_count = 100000;
	refuses_memory(&box, false, "damaged");
	box_deinit(&box);
}

static void an_unfinished_record_is_waited_for_and_given_up(void **state)
{
	struct box box;
	struct seen seen = {};

	(void)state;
	box_init(&box);
	put(&box, 0, GS_RECORD_ROW, 1, 1);
	put(&box, 0, GS_RECORD_ROW, 1, 2);
	put(&box, 0, GS_RECORD_ROW, 1, 3);

	uint64_t *commit = (uint64_t *)(box.memory + box.header.rings[GS_MAILBOX_DATA].offset +
					sizeof(struct gs_mailbox_ring) + 2 * GS_MAILBOX_SLOT);
	uint64_t was = *commit;

	assert_int_equal(was, 3);
	*commit = 0;
	assert_int_equal(poll_ring(&box, GS_MAILBOX_DATA, &seen), 1);
	assert_int_equal(poll_ring(&box, GS_MAILBOX_DATA, &seen), 0);
	*commit = was;
	assert_int_equal(poll_ring(&box, GS_MAILBOX_DATA, &seen), 2);

	// One whose writer died does not hold up the others for ever.
	put(&box, 0, GS_RECORD_ROW, 1, 4);
	put(&box, 1, GS_RECORD_ROW, 1, 5);
	commit += 4 * GS_MAILBOX_SLOT / 8;
	assert_int_equal(*commit, 7);
	*commit = 0;
	for (int i = 0; i < 100; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(seen.per[1], 1);
	put(&box, 0, GS_RECORD_ROW, 1, 6);
	poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(mailbox_missed(box.reader, 0), 1);
	box_deinit(&box);
}

static void damage_is_not_delivered(void **state)
{
	struct box box;
	struct seen seen = {};

	(void)state;
	box_init(&box);
	for (uint64_t i = 1; i <= 20; i++)
		put(&box, 0, GS_RECORD_ROW, 20, i);
	srand(1);

	const struct gs_mailbox_area *area = &box.header.rings[GS_MAILBOX_DATA];

	for (int i = 0; i < 300; i++)
		box.memory[area->offset + (uint64_t)rand() % area->size] ^= 1 << rand() % 8;
	// Among others the head may say anything; see() asserts that what comes is whole.
	for (int i = 0; i < 200; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);

	uint64_t *head = (uint64_t *)(box.memory + area->offset);

	for (int i = 0; i < 64; i++) {
		*head = UINT64_MAX >> i;
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	}
	box_deinit(&box);
}

// Text from the watched machine, laid out like an entry: the seed is not known there.
static void records_do_not_forge_entries(void **state)
{
	struct box box;
	struct seen seen = {};
	struct record record;

	(void)state;
	box_init(&box);
	record_of(&record, GS_RECORD_ROW, 64, 1);

	// Begins at slot 0; slot 1 is forged as an entry of its own.
	_Static_assert(sizeof(struct gs_mailbox_entry) + sizeof(struct gs_record_header) ==
			       GS_MAILBOX_SLOT,
		       "the items begin in slot 1");
	uint64_t *slot = record.items;
	struct gs_mailbox_entry forged = { .commit = 2, .size = 32, .detector = 1 };
	uint64_t words[8];
	struct gs_record_header inner = { .size = 32, .kind = GS_RECORD_FINDING };

	memcpy(words, &forged, sizeof(forged));
	memcpy(words + 4, &inner, sizeof(inner));
	forged.crc = gs_crc32c_words(mailbox_crc32c(), words, 8);
	memcpy(slot, &forged, sizeof(forged));
	memcpy(slot + 4, &inner, sizeof(inner));
	assert_true(gs_mailbox_write(&box.writers[0], &record.header));
	// The real entry is gone: a reader that looks for the next one comes by the forged one.
	*(uint64_t *)(box.memory + box.header.rings[GS_MAILBOX_DATA].offset +
		      sizeof(struct gs_mailbox_ring)) = 0;
	for (int i = 0; i < 200; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	assert_int_equal(seen.count, 0);
	box_deinit(&box);
}

static void rows_and_heartbeat_are_sealed(void **state)
{
	struct box box;
	struct gs_mailbox_detector row;
	struct gs_mailbox_heartbeat beat;
	struct gs_control control = { .since_ns = 500 };
	struct gs_supervisor supervisor = { .period_ns = 1000 };
	struct record out;
	struct gs_ctx ctx = {
		.out = (uint64_t)&out,
		.out_size = sizeof(out),
		.faults = 3,
		.fault_address = 0x10,
		.stop = GS_STOP_BUDGET,
		.stop_site = 4,
	};

	(void)state;
	box_init(&box);
	assert_null(mailbox_read_heartbeat(box.reader, &beat));
	assert_int_equal(beat.counter, 0);
	supervisor.heartbeat = (uint64_t)box.memory + box.header.heartbeat.offset;
	supervisor.crc32c = (uint64_t)mailbox_crc32c();
	supervisor.controls[2] = (uint64_t)&control;
	supervisor.stall_ns[2] = 1000;
	gs_supervisor_beat(&supervisor, 1000, GS_MAILBOX_RUNNING);
	assert_null(mailbox_read_heartbeat(box.reader, &beat));
	assert_int_equal(beat.launched, 4);
	assert_int_equal(beat.stalled, 0);
	gs_supervisor_beat(&supervisor, 2000, GS_MAILBOX_RUNNING);
	assert_null(mailbox_read_heartbeat(box.reader, &beat));
	assert_int_equal(beat.counter, 2);
	assert_int_equal(beat.stalled, 4);
	assert_int_equal(beat.start_ns, 1000);
	assert_int_equal(beat.time_ns, 2000);

	gs_mailbox_run_begin(&box.writers[2], 100);
	assert_null(mailbox_read_detector(box.reader, 2, &row));
	assert_int_equal(row.state, GS_MAILBOX_RUNNING);
	assert_string_equal(row.name, "sample");
	ctx.out_used = record_of(&out, GS_RECORD_ROW, 3, 1)->header.size;
	gs_mailbox_run_end(&box.writers[2], &ctx, gs_mailbox_publish(&box.writers[2], &ctx), 350);
	assert_null(mailbox_read_detector(box.reader, 2, &row));
	assert_int_equal(row.state, GS_MAILBOX_WAITING);
	assert_int_equal(row.runs, 1);
	assert_int_equal(row.last_ns, 250);
	assert_int_equal(row.faults, 3);
	assert_int_equal(row.stopped_budget, 1);
	assert_int_equal(row.stop_site, 4);
	assert_int_equal(row.records[GS_MAILBOX_DATA], 1);

	// Damaged for good.
	box.memory[box.header.detectors.offset + 2 * sizeof(row) + 70] ^= 1;

	struct gs_error *err = mailbox_read_detector(box.reader, 2, &row);

	assert_non_null(err);
	gs_error_destroy(err);
	box_deinit(&box);
}

static void a_row_that_is_written_does_not_hold_the_others(void **state)
{
	struct gs_mailbox_detector rows[4] = { [2] = { .runs = 77 } };
	struct box box;
	uint64_t fresh;

	(void)state;
	box_init(&box);
	gs_mailbox_run_begin(&box.writers[1], 100);
	gs_mailbox_run_begin(&box.writers[2], 100);
	box.memory[box.header.detectors.offset + 2 * sizeof(rows[0]) + 70] ^= 1;
	assert_null(mailbox_read_detectors(box.reader, 4, rows, &fresh));
	assert_int_equal(fresh & 0x6, 0x2);
	assert_int_equal(rows[1].state, GS_MAILBOX_RUNNING);
	assert_string_equal(rows[1].name, "sample");
	assert_int_equal(rows[2].runs, 77);
	// Of none.
	assert_null(mailbox_read_detectors(box.reader, 0, rows, &fresh));
	assert_int_equal(fresh, 0);
	box_deinit(&box);
}

static void headers_are_checked(void **state)
{
	struct box box;
	struct mailbox_reader *reader;

	(void)state;
	box_init(&box);
	for (size_t i = 0; i < sizeof(box.header); i++) {
		box.memory[i] ^= 0x80;

		struct gs_error *err = mailbox_reader_create(read_box, &box, &reader);

		assert_non_null(err);
		gs_error_destroy(err);
		box.memory[i] ^= 0x80;
	}

	// Sealed, but of nonsense.
	struct gs_mailbox_header *header = (struct gs_mailbox_header *)box.memory;
	struct gs_mailbox_area *areas = &header->heartbeat;

	for (int i = 0; i < 4; i++) {
		static const struct gs_mailbox_area bad[] = {
			{ 4096, UINT64_MAX }, { UINT64_MAX - 63, 128 }, { 0, 0 }, { 4100, 64 },
			{ 64, 4096 },
		};

		for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
			struct gs_mailbox_area was = areas[i];

			areas[i] = bad[j];
			mailbox_seal_header(header);

			struct gs_error *err = mailbox_reader_create(read_box, &box, &reader);

			assert_non_null(err);
			gs_error_destroy(err);
			areas[i] = was;
		}
	}
	box_deinit(&box);
}

enum { THREAD_RECORDS = 20000 };

struct thread {
	pthread_t thread;
	struct box *box;
	uint32_t detector;
};

static void *write_many(void *arg)
{
	struct thread *thread = arg;

	for (uint64_t i = 1; i <= THREAD_RECORDS; i++)
		put(thread->box, thread->detector, GS_RECORD_ROW, i % 30, i);
	return NULL;
}

static void many_writers_share_a_ring(void **state)
{
	struct box box;
	struct seen seen = {};
	struct thread threads[4];

	(void)state;
	box_init(&box);
	for (uint32_t i = 0; i < 4; i++) {
		threads[i] = (struct thread){ .box = &box, .detector = i };
		assert_int_equal(pthread_create(&threads[i].thread, NULL, write_many, &threads[i]),
				 0);
	}
	for (int i = 0; i < 2000; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	for (uint32_t i = 0; i < 4; i++)
		pthread_join(threads[i].thread, NULL);
	// See the end of each, so that the gaps before it are known.
	for (uint32_t i = 0; i < 4; i++)
		put(&box, i, GS_RECORD_ROW, 1, THREAD_RECORDS + 1);
	for (int i = 0; i < 200; i++)
		poll_ring(&box, GS_MAILBOX_DATA, &seen);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(seen.per[i] + mailbox_missed(box.reader, i), THREAD_RECORDS + 1);
	assert_true(seen.count > 0);
	box_deinit(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_crc32c),
		cmocka_unit_test(records_come_out_in_order),
		cmocka_unit_test(overwritten_records_are_counted),
		cmocka_unit_test(a_reader_that_is_too_slow_gets_away),
		cmocka_unit_test(a_reader_may_begin_anywhere),
		cmocka_unit_test(the_map_of_memory_is_checked),
		cmocka_unit_test(an_unfinished_record_is_waited_for_and_given_up),
		cmocka_unit_test(damage_is_not_delivered),
		cmocka_unit_test(records_do_not_forge_entries),
		cmocka_unit_test(rows_and_heartbeat_are_sealed),
		cmocka_unit_test(a_row_that_is_written_does_not_hold_the_others),
		cmocka_unit_test(headers_are_checked),
		cmocka_unit_test(many_writers_share_a_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
