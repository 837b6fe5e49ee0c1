// SPDX-License-Identifier: Apache-2.0
// The tables of the mailbox: the latest value of each metric, and what the formats of records are.
#include <pthread.h>
#include <stdio.h>

#include "mailbox_rig.h"

struct metric_record {
	struct gs_record_header header;
	uint64_t value, labels[GS_MAILBOX_LABELS + 1];
};

static bool publish(const struct gs_mailbox_writer *writer, uint32_t format, uint64_t label,
		    uint32_t labels, uint64_t value)
{
	struct metric_record record = {
		.header = {
			.size = (uint32_t)sizeof(record.header) + 8 + labels * 8,
			.kind = GS_RECORD_METRIC,
			.nargs = (uint16_t)(1 + labels),
			.format = format,
			.time_ns = 1000 + value,
		},
		.value = value,
	};

	for (uint32_t i = 0; i < labels; i++)
		record.labels[i] = label + i;
	return gs_mailbox_write(writer, &record.header);
}

static struct gs_mailbox_detector *row_of(struct rig *rig, uint32_t index)
{
	return (struct gs_mailbox_detector *)(rig->memory + rig->header.detectors.offset) + index;
}

static void add_detector(struct rig *rig, uint32_t index, struct gs_mailbox_writer *ret)
{
	static const struct gs_mailbox_formats none = { .size = sizeof(none) };

	mailbox_row(row_of(rig, index), "sample", 1000, 1, 1, &none);
	mailbox_writer(ret, &rig->header, (uint64_t)rig->memory, (uint64_t)mailbox_crc32c(), index,
		       row_of(rig, index)->generation);
}

enum { SEEN_MAX = 3000 };

struct seen {
	struct gs_mailbox_metric metrics[SEEN_MAX];
	uint64_t count, damaged;
};

static struct gs_error *see(void *arg, const struct gs_mailbox_metric *metric)
{
	struct seen *seen = arg;

	assert_true(seen->count < SEEN_MAX);
	seen->metrics[seen->count++] = *metric;
	return NULL;
}

static struct seen *look(struct rig *rig)
{
	static struct seen seen;

	seen = (struct seen){};
	must(mailbox_read_metrics(rig->reader, see, &seen, &seen.damaged));
	return &seen;
}

static const struct gs_mailbox_metric *find(const struct seen *seen, uint32_t detector,
					    uint32_t format, uint64_t label)
{
	const struct gs_mailbox_metric *found = NULL;

	for (uint64_t i = 0; i < seen->count; i++) {
		const struct gs_mailbox_metric *metric = &seen->metrics[i];

		if (metric->detector == detector && metric->format == format &&
		    metric->labels[0] == label) {
			assert_null(found);
			found = metric;
		}
	}
	assert_non_null(found);
	return found;
}

static void the_latest_value_is_there(void **state)
{
	struct rig rig;
	struct gs_mailbox_writer one, two;

	(void)state;
	rig_init(&rig);
	add_detector(&rig, 1, &one);
	add_detector(&rig, 2, &two);
	assert_int_equal(look(&rig)->count, 0);
	for (uint64_t value = 1; value <= 50; value++) {
		for (uint64_t cpu = 0; cpu < 8; cpu++)
			assert_true(publish(&one, 0, cpu, 1, value * 100 + cpu));
		assert_true(publish(&one, 1, 0, 0, value));
		assert_true(publish(&two, 1, 5, GS_MAILBOX_LABELS, value * 3));
	}

	const struct seen *seen = look(&rig);

	assert_int_equal(seen->count, 10);
	assert_int_equal(seen->damaged, 0);
	for (uint64_t cpu = 0; cpu < 8; cpu++) {
		const struct gs_mailbox_metric *metric = find(seen, 1, 0, cpu);

		assert_int_equal(metric->value, 5000 + cpu);
		assert_int_equal(metric->time_ns, 6000 + cpu);
		assert_int_equal(metric->size, 8);
	}
	assert_int_equal(find(seen, 1, 1, 0)->value, 50);
	assert_int_equal(find(seen, 2, 1, 5)->value, 150);
	assert_int_equal(find(seen, 2, 1, 5)->labels[GS_MAILBOX_LABELS - 1],
			 5 + GS_MAILBOX_LABELS - 1);
	// Labels that are too long stay in the ring alone, and are counted.
	assert_true(publish(&one, 2, 0, GS_MAILBOX_LABELS + 1, 1));
	assert_int_equal(row_of(&rig, 1)->metrics_lost, 1);
	rig_deinit(&rig);
}

static void a_full_area_is_counted(void **state)
{
	struct rig rig;
	struct gs_mailbox_writer writer;
	uint64_t room, wanted;

	(void)state;
	rig_init(&rig);
	room = mailbox_metric_count(&rig.header);
	wanted = room + room / 4;
	add_detector(&rig, 0, &writer);
	for (uint64_t i = 0; i < wanted; i++)
		publish(&writer, 0, i, 1, i);

	uint64_t lost = row_of(&rig, 0)->metrics_lost;

	assert_true(lost > 0);
	assert_int_equal(look(&rig)->count + lost, wanted);
	assert_true(look(&rig)->count > room * 3 / 4);

	// What has a place keeps it.
	uint64_t label = look(&rig)->metrics[7].labels[0];

	publish(&writer, 0, label, 1, 12345);
	assert_int_equal(find(look(&rig), 0, 0, label)->value, 12345);
	assert_int_equal(row_of(&rig, 0)->metrics_lost, lost);

	// The row's next detector takes the places of the one that is gone.
	add_detector(&rig, 0, &writer);
	for (uint64_t i = 0; i < room / 2; i++)
		publish(&writer, 0, i, 1, i);

	uint64_t own = 0;

	for (uint64_t i = 0; i < look(&rig)->count; i++)
		own += look(&rig)->metrics[i].generation == writer.generation;
	assert_int_equal(own + row_of(&rig, 0)->metrics_lost, room / 2);
	assert_true(own > room / 4);
	rig_deinit(&rig);
}

static void damage_is_counted(void **state)
{
	struct rig rig;
	struct gs_mailbox_writer writer;
	uint64_t damaged = 0;

	(void)state;
	rig_init(&rig);
	add_detector(&rig, 0, &writer);
	for (uint64_t i = 0; i < 100; i++)
		publish(&writer, 0, i, 1, i);

	struct gs_mailbox_metric *entries =
		(struct gs_mailbox_metric *)(rig.memory + rig.header.metrics.offset);

	for (uint64_t i = 0; i < mailbox_metric_count(&rig.header) && damaged < 5; i++) {
		if (!entries[i].key)
			continue;
		((uint8_t *)&entries[i])[16 + damaged * 21] ^= 4;
		damaged++;
	}
	assert_int_equal(look(&rig)->count, 95);
	assert_int_equal(look(&rig)->damaged, 5);
	rig_deinit(&rig);
}

enum { THREADS = 4, ROUNDS = 3000 };

struct worker {
	pthread_t thread;
	struct gs_mailbox_writer writer;
	uint64_t first;
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		// One that all threads of the detector have, and one of its own.
		publish(&worker->writer, 0, 0, 1, i);
		publish(&worker->writer, 1, worker->first, 1, i);
	}
	return NULL;
}

static void threads_share_the_area(void **state)
{
	struct rig rig;
	struct gs_mailbox_writer writer;
	struct worker workers[THREADS];

	(void)state;
	rig_init(&rig);
	add_detector(&rig, 0, &writer);
	for (uint64_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .writer = writer, .first = i };
		// Rows of their own: counting in one is the business of one thread.
		workers[i].writer.entry = (uint64_t)row_of(&rig, (uint32_t)i + 1);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 100; i++)
		assert_in_range(look(&rig)->count, 0, THREADS + 1);
	for (uint64_t i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);

	const struct seen *seen = look(&rig);

	assert_int_equal(seen->damaged, 0);
	assert_int_equal(seen->count, THREADS + 1);
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(find(seen, 0, 1, i)->value, ROUNDS);
	assert_in_range(find(seen, 0, 0, 0)->value, 1, ROUNDS);
	rig_deinit(&rig);
}

static const char *const texts[] = { "pid=%d comm=%s", "", "a rather long one: %s %s %s %s",
				     "last" };

static struct mailbox_format text_of(const void *arg, uint32_t index)
{
	(void)arg;
	return (struct mailbox_format){ texts[index], GS_RECORD_ROW, (uint16_t)index };
}

static void formats_are_checked(void **state)
{
	struct rig rig;
	uint64_t words[32];
	struct gs_mailbox_formats *formats = (struct gs_mailbox_formats *)words, *got;

	(void)state;
	rig_init(&rig);
	// The third does not fit, the fourth does.
	mailbox_formats(formats, 80, 4, text_of, NULL);

	struct gs_mailbox_detector *row = row_of(&rig, 9);
	uint8_t *at = rig.memory + mailbox_formats_offset(&rig.header, 9);

	mailbox_row(row, "sample", 1000, 1, 1, formats);
	memcpy(at, formats, formats->size);
	must(mailbox_read_formats(rig.reader, 9, row, &got));
	assert_non_null(got);
	assert_int_equal(got->count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(got->entries[i].nargs, i);
		if (i == 2)
			assert_int_equal(got->entries[i].offset, 0);
		else
			assert_string_equal((char *)got + got->entries[i].offset, texts[i]);
	}
	free(got);
	// Those of a detector that has replaced this one.
	at[20] ^= 1;
	must(mailbox_read_formats(rig.reader, 9, row, &got));
	assert_null(got);
	at[20] ^= 1;
	// Sealed, but of nonsense.
	for (uint32_t i = 0; i < formats->size / 4; i++) {
		static const uint32_t bad[] = { 79, 80, 4096, UINT32_MAX, 1 << 31 };
		uint32_t *word = (uint32_t *)at + i, was = *word;

		for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
			*word = bad[j];
			row->formats_crc = gs_crc32c_words(mailbox_crc32c(), (uint64_t *)at,
							   formats->size / 8);
			must(mailbox_read_formats(rig.reader, 9, row, &got));
			for (uint32_t k = 0; got && k < got->count; k++)
				assert_true(strlen((char *)got + got->entries[k].offset) < 80);
			free(got);
		}
		*word = was;
	}
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_latest_value_is_there),
		cmocka_unit_test(a_full_area_is_counted),
		cmocka_unit_test(damage_is_counted),
		cmocka_unit_test(threads_share_the_area),
		cmocka_unit_test(formats_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
