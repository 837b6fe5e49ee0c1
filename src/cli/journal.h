/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Lines for systemd's journal: sd-daemon(3), "<N>" before a line is its priority.
 */
#ifndef GS_CLI_JOURNAL_H
#define GS_CLI_JOURNAL_H

#include <stdbool.h>
#include <stdio.h>

#include <gpusentinel/record.h>

/** As syslog(3) has them. */
enum journal_priority {
	JOURNAL_CRITICAL = 2,
	JOURNAL_ERROR = 3,
	JOURNAL_WARNING = 4,
	JOURNAL_NOTICE = 5,
	JOURNAL_INFO = 6,
};

/** What is written to @p file goes to the journal. */
bool journal_takes(FILE *file);

/** Begin a line with its priority. */
void journal_begin(FILE *file, enum journal_priority priority);

/** Of a finding; @p closed: of a condition that is over. */
enum journal_priority journal_priority(enum gs_severity severity, bool closed);

#endif
