/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Records of running detectors, one line each, as they come.
 */
#ifndef GS_CLI_STREAM_H
#define GS_CLI_STREAM_H

#include <stdbool.h>

#include <gpusentinel/conditions.h>

#include "cli/rules.h"

struct stream {
	/** Which host the records are of, for programs that watch several; NULL: it goes without saying. */
	const char *host;
	/** What a reader may go on from: the number of the record in its ring; NULL: there is none. */
	const uint64_t *number;
	/** Lines of JSON rather than of text. */
	bool json;
	/** Which records beside findings. */
	bool rows, metrics;
	/** What is known of conditions that last. */
	struct gs_conditions *conditions;
	/** Over messages of the detector "log". */
	struct rules rules;
	/** That detector has told by itself what its next row is about. */
	bool log_told;
	/** Severities in colour. */
	bool colour;
	/** Lines begin with their priority, and have no time: systemd's journal gives them one. */
	bool journal;
	/** The reader has gone, or the disk is full; read by the thread that waits. */
	bool broken;
};

/** A gs_record_fn; @p arg is the struct stream. */
void stream_record(void *arg, const struct gs_record *record);

/** Print "processes: 12 runs, last 1.2 ms, ..." on standard error. */
void stream_stats(struct gs_detector *detector);

#endif
