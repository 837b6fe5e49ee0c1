/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Records: what a detector writes and the host formats. Compiled for the host and for the device.
 *
 * A detector hands over raw arguments; nothing is formatted on the device. A record is a header and one
 * item per conversion of the format string, in order:
 *   - integers and pointers (%d %i %u %x %o %c %p): one u64, sign- or zero-extended as C promotes them;
 *   - floating point (%f %e %g): one u64 with the bits of a double;
 *   - strings (%s): one u64 = length in bytes | GS_RECORD_STRING_* flags, then the bytes without NUL, then
 *     zero bytes up to a multiple of 8.
 * Everything is little-endian; a record's size is a multiple of 8.
 */
#ifndef GPUSENTINEL_RECORD_H
#define GPUSENTINEL_RECORD_H

#include <stdint.h>

/** What a record is. */
enum gs_record_kind {
	/** A line of a table: `row("pid=%d comm=%s", ...)`. */
	GS_RECORD_ROW = 1,
	/** Something that a person should know: `finding(CRITICAL, "...", ...)`. */
	GS_RECORD_FINDING = 2,
	/** A number over time: `metric("name{label}", value)`; the value is the first item. */
	GS_RECORD_METRIC = 3,
	/**
	 * A condition that lasts has begun, become another one, or ended: `alarm(hung, pid, WARNING, "...", ...)`. The
	 * first GS_ALARM_ITEMS items are not part of the message. Its format begins with the name of the table of
	 * conditions, "hung: ". One that has ended has no further items: its message is the one that it last had.
	 */
	GS_RECORD_ALARM = 4,
};

/** First items of a record of kind GS_RECORD_ALARM. */
enum gs_alarm_item {
	/** enum gs_state, but not GS_EVENT. */
	GS_ALARM_STATE = 0,
	/** What tells conditions of one detector and table apart: a pid, a CPU, an address. */
	GS_ALARM_KEY = 1,
	/** Nanoseconds that the condition has lasted; if it has ended, how long it did. */
	GS_ALARM_LASTED = 2,
	GS_ALARM_ITEMS = 3,
};

/** Key of the condition that a table has no room for all others. */
#define GS_ALARM_OVERFLOW UINT64_MAX

/** What has become of what a finding tells. */
enum gs_state {
	/** It happened. */
	GS_EVENT = 0,
	/** It lasts. */
	GS_OPEN = 1,
	/** It goes on, with another severity than before. */
	GS_CHANGED = 2,
	/** It has ended. */
	GS_CLOSED = 3,
};

/** Severity of a finding. */
enum gs_severity {
	GS_INFO = 1,
	GS_WARNING = 2,
	GS_ERROR = 3,
	GS_CRITICAL = 4,
};

/** Items in one record at most. */
#define GS_RECORD_MAX_ARGS 64
/** Bytes of one string at most. */
#define GS_RECORD_MAX_STRING 4096
/** Bytes of one record at most. */
#define GS_RECORD_MAX_SIZE 65536

/** In a string's first word: its length in bytes. */
#define GS_RECORD_STRING_LEN UINT64_C(0xffffffff)
/** In a string's first word: it had no NUL within the limit and is cut. */
#define GS_RECORD_STRING_CUT (UINT64_C(1) << 32)
/** In a string's first word: part of it could not be read and is missing. */
#define GS_RECORD_STRING_FAULT (UINT64_C(1) << 33)

/** Header of a record. */
struct gs_record_header {
	/** Bytes of the record with this header; a multiple of 8. */
	uint32_t size;
	/** enum gs_record_kind */
	uint16_t kind;
	/** Number of items. */
	uint16_t nargs;
	/** Index into the format table of the fat detector. */
	uint32_t format;
	/** enum gs_severity of a finding or an alarm (of one that has ended: the last), else 0. */
	uint16_t severity;
	/** GS_RECORD_F_* */
	uint16_t flags;
	/** When it was written, nanoseconds of the engine's monotonic clock. */
	uint64_t time_ns;
	/** The detector's run that wrote it, from 0. */
	uint64_t run;
};

/** A load failed between the record's arguments being read and it being written: some may be zero or torn. */
#define GS_RECORD_F_FAULT 1

#endif
