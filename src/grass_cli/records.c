// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/records.h"

#include <stdio.h>

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

struct gs_error *records_take(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	struct records *records = arg;
	struct records_row *row = &records->rows[entry->detector];
	uint64_t count, damaged;

	if (row->generation != entry->generation) {
		struct gs_error *err = learn(records, entry->detector, entry->generation);

		if (err)
			return err;
	}
	if (!row->fat) {
		records->unknown++;
		return NULL;
	}
	records->position = entry->commit - 1;

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
	gs_error_destroy(decode_records(&run, record, entry->size, &count, &damaged));
	records->unknown += damaged;
	return NULL;
}
