/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Records out of a mailbox, decoded by the format strings that it holds.
 */
#ifndef GS_GRASS_CLI_RECORDS_H
#define GS_GRASS_CLI_RECORDS_H

#include <gpusentinel/engine.h>

#include "engine/format.h"
#include "mailbox/reader.h"

struct gs_fat;

/** What is known of a row of the detector table. */
struct records_row {
	/** 0: nothing yet. */
	uint32_t generation;
	char name[sizeof(((struct gs_mailbox_detector *)NULL)->name)];
	/** Its formats; NULL: they are gone, or never were. */
	struct gs_fat *fat;
};

/** Set the first members, zero the rest; end it with records_deinit(). */
struct records {
	struct mailbox_reader *reader;
	/** For %pS. */
	format_symbolize_fn *symbolize;
	void *symbolize_arg;
	/** Bit N: records of kind N are delivered. */
	uint32_t kinds;
	gs_record_fn *fn;
	void *arg;

	/** The entry that is being delivered: where it lies in its ring. */
	uint64_t position;
	/** Records whose detector was replaced, or that are damaged: nobody knows what they say. */
	uint64_t unknown;
	struct records_row rows[GS_MAILBOX_DETECTORS];
};

void records_deinit(struct records *records);

/** A mailbox_entry_fn; @p arg is the struct records. */
struct gs_error *records_take(void *arg, const struct gs_mailbox_entry *entry, const void *record);

/** The same for the latest value of a metric. */
struct gs_error *records_take_metric(struct records *records,
				     const struct gs_mailbox_metric *metric);

#endif
