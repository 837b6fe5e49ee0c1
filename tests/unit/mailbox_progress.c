// SPDX-License-Identifier: Apache-2.0
// A mailbox that goes on with the numbers of an earlier one: writers go on counting, and readers neither take what lies before
// for lost nor wait for it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailbox.h"
#include "mailbox/layout.h"
#include "mailbox/progress.h"

enum { SLOTS = 64 };

struct box {
	struct gs_mailbox_header header;
	uint8_t *memory;
	struct gs_mailbox_writer writer;
	struct mailbox_reader *reader;
};

static void must(struct gs_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static struct gs_error *read_box(void *arg, uint64_t offset, void *buf, size_t size)
{
	const struct box *box = arg;

	assert_true(offset <= box->header.size && size <= box->header.size - offset);
	memcpy(buf, box->memory + offset, size);
	return NULL;
}

static void box_init(struct box *box, const struct gs_mailbox_progress *from)
{
	static const uint64_t slots[] = { SLOTS, SLOTS };
	static const struct gs_mailbox_formats none = { .size = sizeof(none) };
	struct gs_mailbox_detector *rows;

	memset(box, 0, sizeof(*box));
	mailbox_layout(&box->header, GS_MAILBOX_CPU, slots);
	box->header.epoch = from ? from->epoch + 1 : 0;
	mailbox_seal_header(&box->header);
	box->memory = aligned_alloc(64, box->header.size);
	assert_non_null(box->memory);
	memset(box->memory, 0, box->header.size);
	memcpy(box->memory, &box->header, sizeof(box->header));
	rows = (void *)(box->memory + box->header.detectors.offset);
	for (uint32_t i = 0; from && i < GS_MAILBOX_RINGS; i++)
		mailbox_first_ring(from, i, (void *)(box->memory + box->header.rings[i].offset));
	for (uint32_t i = 0; from && i < GS_MAILBOX_DETECTORS; i++)
		mailbox_first_row(from, i, &rows[i]);
	mailbox_row(&rows[3], "sample", 1000, 1, 1, &none);
	mailbox_writer(&box->writer, &box->header, (uint64_t)box->memory,
		       (uint64_t)mailbox_crc32c(), 3, rows[3].generation);
	must(mailbox_reader_create(read_box, box, &box->reader));
}

static void box_deinit(struct box *box)
{
	mailbox_reader_destroy(box->reader);
	free(box->memory);
}

// Findings of one slot each; the row is sealed, as at the end of a run.
static void put(struct box *box, unsigned int count)
{
	struct gs_record_header record = { .size = sizeof(record), .kind = GS_RECORD_FINDING };

	while (count--)
		assert_true(gs_mailbox_write(&box->writer, &record));
	gs_mailbox_set_state(&box->writer, GS_MAILBOX_WAITING);
}

struct seen {
	uint64_t first_position, last_position, first_sequence, last_sequence;
};

static struct gs_error *see(void *arg, const struct gs_mailbox_entry *entry, const void *data)
{
	struct seen *seen = arg;

	(void)data;
	if (!seen->first_position) {
		seen->first_position = entry->commit;
		seen->first_sequence = entry->sequence;
	}
	seen->last_position = entry->commit;
	seen->last_sequence = entry->sequence;
	return NULL;
}

static uint64_t look(struct box *box, struct seen *seen)
{
	uint64_t count;

	*seen = (struct seen){};
	must(mailbox_poll(box->reader, GS_MAILBOX_FINDINGS, see, seen, &count));
	return count;
}

static void numbers_go_on(void **state)
{
	struct gs_mailbox_progress progress;
	struct box before, after;
	struct seen seen;

	(void)state;
	box_init(&before, NULL);
	put(&before, 5);
	assert_int_equal(look(&before, &seen), 5);
	assert_int_equal(seen.last_sequence, 4);
	must(mailbox_read_progress(before.reader, &progress));
	assert_int_equal(progress.epoch, 0);
	assert_int_equal(progress.rows[3].generation, 1);
	assert_int_equal(progress.rows[3].records[GS_MAILBOX_FINDINGS], 5);

	box_init(&after, &progress);
	assert_int_equal(after.header.epoch, 1);
	// Nothing is there, and nothing is waited for.
	assert_int_equal(look(&after, &seen), 0);
	put(&after, 2);
	assert_int_equal(look(&after, &seen), 2);
	assert_int_equal(seen.first_sequence, 5);
	assert_true(seen.first_position > progress.heads[GS_MAILBOX_FINDINGS]);
	assert_int_equal(mailbox_missed(after.reader, 3), 0);
	assert_int_equal(mailbox_gaps(after.reader, GS_MAILBOX_FINDINGS), 0);

	// And once more.
	must(mailbox_read_progress(after.reader, &progress));
	assert_int_equal(progress.epoch, 1);
	assert_int_equal(progress.rows[3].generation, 2);
	assert_int_equal(progress.rows[3].records[GS_MAILBOX_FINDINGS], 7);
	box_deinit(&before);
	box_deinit(&after);
}

static void who_was_there_before_goes_on(void **state)
{
	struct gs_mailbox_progress progress;
	struct box before, after;
	struct seen seen;

	(void)state;
	box_init(&before, NULL);
	put(&before, 9);
	must(mailbox_read_progress(before.reader, &progress));
	box_init(&after, &progress);
	put(&after, 3);
	// From where it was: nothing is lost.
	mailbox_seek(after.reader, GS_MAILBOX_FINDINGS, progress.heads[GS_MAILBOX_FINDINGS]);
	assert_int_equal(look(&after, &seen), 3);
	assert_int_equal(mailbox_gaps(after.reader, GS_MAILBOX_FINDINGS), 0);
	// Who had not seen the last ones will not see them any more, and hears of it.
	mailbox_seek(after.reader, GS_MAILBOX_FINDINGS, 4);
	assert_int_equal(look(&after, &seen), 3);
	assert_int_equal(seen.first_sequence, 9);
	assert_int_equal(mailbox_gaps(after.reader, GS_MAILBOX_FINDINGS), 1);
	box_deinit(&before);
	box_deinit(&after);
}

static void losses_are_counted_from_there_on(void **state)
{
	struct gs_mailbox_progress progress = { .epoch = 7 };
	struct box box;
	struct seen seen;

	(void)state;
	progress.heads[GS_MAILBOX_FINDINGS] = UINT64_C(1) << 40 | 13;
	progress.rows[3] = (struct gs_mailbox_row_progress){ 4, { 1000, 0 } };
	box_init(&box, &progress);
	put(&box, SLOTS + 10);
	assert_int_equal(look(&box, &seen), SLOTS);
	assert_int_equal(seen.first_sequence, 1010);
	assert_int_equal(mailbox_gaps(box.reader, GS_MAILBOX_FINDINGS), 1);
	put(&box, SLOTS + 1);
	assert_int_equal(look(&box, &seen), SLOTS);
	assert_int_equal(mailbox_missed(box.reader, 3), 1);
	box_deinit(&box);
}

static void a_beginning_that_lies_is_none(void **state)
{
	struct gs_mailbox_progress progress = { .epoch = 1, .heads = { 100, 100 } };
	struct gs_mailbox_ring *ring;
	struct box box;
	struct seen seen;

	(void)state;
	box_init(&box, &progress);
	put(&box, 3);
	ring = (void *)(box.memory + box.header.rings[GS_MAILBOX_FINDINGS].offset);
	ring->first = UINT64_MAX;
	assert_int_equal(look(&box, &seen), 3);
	box_deinit(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_go_on),
		cmocka_unit_test(who_was_there_before_goes_on),
		cmocka_unit_test(losses_are_counted_from_there_on),
		cmocka_unit_test(a_beginning_that_lies_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
