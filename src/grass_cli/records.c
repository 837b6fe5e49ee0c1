// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/records.h"

#include <stdio.h>
#include <string.h>

#include "engine/decode.h"
#include "engine/formats.h"
#include "util/cleanup.h"

void records_deinit(struct records *records)
{
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++)
		gs_fat_close(records->rows[i].fat);
}

// Learn who writes as detector @index now. An older generation than the table's is gone for good.
static struct gs_error *learn(struct records *records, uint32_t index, uint32_t generation)
{
	_cleanup_free_ struct gs_mailbox_formats *formats = NULL;
	struct records_row *row = &records->rows[index];
	struct gs_mailbox_detector now;
	struct gs_error *err = mailbox_read_detector(records->reader, index, &now);

	if (err)
		return err;
	gs_fat_close(row->fat);
	*row = (struct records_row){ .generation = generation };
	if (now.generation != generation)
		return NULL;
	snprintf(row->name, sizeof(row->name), "%s", now.name);
	err = mailbox_read_formats(records->reader, index, &now, &formats);
	if (err || !formats)
		return err;
	return formats_open(formats, row->name, &row->fat);
}

// What is known of who wrote a record; *ret is NULL if nobody can tell.
static struct gs_error *find_row(struct records *records, uint32_t detector, uint32_t generation,
				 const struct records_row **ret)
{
	struct records_row *row = &records->rows[detector];

	*ret = NULL;
	if (row->generation != generation) {
		struct gs_error *err = learn(records, detector, generation);

		if (err)
			return err;
	}
	if (row->fat)
		*ret = row;
	else
		records->unknown++;
	return NULL;
}

static void decode(struct records *records, const struct records_row *row, const void *record,
		   size_t size)
{
	uint64_t count, damaged;
	struct decode_run run = {
		.fat = row->fat,
		.detector_name = row->name,
		.wall_offset_ns = (uint64_t)mailbox_reader_header(records->reader)->wall_offset_ns,
		.symbolize = records->symbolize,
		.symbolize_arg = records->symbolize_arg,
		.fn = records->fn,
		.arg = records->arg,
		.kinds = records->kinds,
	};

	// A damaged record is not a reason to miss the others.
	gs_error_destroy(decode_records(&run, record, size, &count, &damaged));
	records->unknown += damaged;
}

struct gs_error *records_take(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	struct records *records = arg;
	const struct records_row *row;
	struct gs_error *err = find_row(records, entry->detector, entry->generation, &row);

	if (err || !row)
		return err;
	records->position = entry->commit - 1;
	decode(records, row, record, entry->size);
	return NULL;
}

struct gs_error *records_take_metric(struct records *records,
				     const struct gs_mailbox_metric *metric)
{
	struct {
		struct gs_record_header header;
		uint64_t items[1 + GS_MAILBOX_LABELS];
	} record = {
		.header = {
			.size = (uint32_t)(sizeof(record.header) + 8) + metric->size,
			.kind = GS_RECORD_METRIC,
			.format = metric->format,
			.time_ns = metric->time_ns,
		},
		.items[0] = metric->value,
	};
	const struct records_row *row;
	struct gs_error *err = find_row(records, metric->detector, metric->generation, &row);

	if (err || !row)
		return err;
	memcpy(&record.items[1], metric->labels, metric->size);
	// A metric does not say how many items it has.
	if (metric->format < row->fat->header->formats.count)
		record.header.nargs = (uint16_t)row->fat->parsed[metric->format]->count;
	decode(records, row, &record, record.header.size);
	return NULL;
}
