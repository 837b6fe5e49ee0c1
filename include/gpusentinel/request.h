/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Requests to the supervisor and its answers: how a monitor asks, by writing its slot of the mailbox and nothing
 * else. docs/mailbox.md tells it at length.
 *
 * A monitor's part of the areas `requests`, `results` and `bulk` is its index times an equal share
 * (size / monitor_count, rounded down to GS_MAILBOX_SLOT; bulk: to GS_WINDOW_ALIGN). Its requests are numbered from 1; request N
 * and its answer lie in entry N % GS_REQUEST_DEPTH, so that up to GS_REQUEST_DEPTH are under way at a time. They are
 * answered in order.
 *
 * Who sends writes all of the message but its first word, then the first word. Who receives reads the first word, then, in
 * a separate read, all, and goes by the CRC as well: words may arrive in any order.
 */
#ifndef GPUSENTINEL_REQUEST_H
#define GPUSENTINEL_REQUEST_H

#include <stdint.h>

#include <gpusentinel/mailbox.h>

/** Requests of one monitor under way at a time. */
#define GS_REQUEST_DEPTH 8
/** Bytes of a request at most. */
#define GS_REQUEST_SIZE 512
/** Windows begin at multiples of this. */
#define GS_WINDOW_ALIGN 4096
/** Memory is read in units of this many bytes; a multiple of it is asked of addresses and lengths, or made. */
#define GS_READ_UNIT 16
#define GS_READ_PAGE 4096

enum gs_request_kind {
	/** Is there anybody? struct gs_request, struct gs_ping_answer. */
	GS_REQUEST_PING = 1,
	/** Memory of the target: struct gs_read_request, struct gs_read_answer. */
	GS_REQUEST_READ = 2,
	/** A run of a detector that starts after this: struct gs_run_request, struct gs_run_answer. */
	GS_REQUEST_RUN = 3,
	/** A parameter of a detector, and to change it: struct gs_param_request, struct gs_param_answer. */
	GS_REQUEST_PARAM = 4,
};

enum gs_request_status {
	GS_STATUS_OK = 0,
	/** The CRC stayed wrong. Nothing of the request was looked at. */
	GS_STATUS_DAMAGED = 1,
	/** It is another monitor's. */
	GS_STATUS_FOREIGN = 2,
	/** This supervisor does not know the kind. */
	GS_STATUS_UNKNOWN = 3,
	/** Its size, or something else that it says, cannot be. */
	GS_STATUS_INVALID = 4,
	/** There is no such detector (any more), or no such parameter. */
	GS_STATUS_ABSENT = 5,
};

/** Each request begins with this. */
struct gs_request {
	/** Number of the request. Written last. */
	uint64_t sequence;
	/** Bytes of the message, a multiple of 8; GS_REQUEST_SIZE at most. */
	uint32_t size;
	/** CRC-32C of the message with 0 in this place; starts from gs_mailbox_seed(). */
	uint32_t crc;
	/** enum gs_request_kind */
	uint32_t kind;
	/** Index of the monitor. */
	uint32_t monitor;
	/** Comes back in the answer. Random: an answer that was made for another one is recognised. */
	uint64_t nonce;
};

enum gs_read_space {
	GS_READ_PHYSICAL = 0,
	/** Kernel virtual addresses. */
	GS_READ_VIRTUAL = 1,
};

/** Read each page twice, and mark those that changed in between. */
#define GS_READ_F_VERIFY 1

/** In @ref gs_read_request.window: behind the answer, where that has room (GS_READ_INLINE_MAX). */
#define GS_READ_INLINE UINT64_MAX
/** Bytes that always fit behind an answer. */
#define GS_READ_INLINE_MAX 16384

struct gs_read_request {
	struct gs_request request;
	/** First byte, and how many. What is executed is widened to whole units and clamped to what there is room for. */
	uint64_t address, length;
	/** Where to, in bytes from the start of the monitor's window, a multiple of GS_READ_UNIT; or GS_READ_INLINE. */
	uint64_t window;
	/** enum gs_read_space */
	uint32_t space;
	/** GS_READ_F_* */
	uint32_t flags;
};

struct gs_run_request {
	struct gs_request request;
	/** Row of the detector table, and its generation; 0: whichever. */
	uint32_t detector, generation;
};

/** In @ref gs_param_request.flags: give it @ref gs_param_request.value; the detector's next run sees it. */
#define GS_PARAM_F_SET 1

struct gs_param_request {
	struct gs_request request;
	/** Row of the detector table, and its generation, which is not optional here: numbers of parameters are of one detector. */
	uint32_t detector, generation;
	/** Number of the parameter (GS_FORMAT_PARAM). Detectors of one file share their parameters. */
	uint32_t param;
	/** GS_PARAM_F_* */
	uint32_t flags;
	uint64_t value;
};

/** Room for a request of any kind: as much is filled in as its size says. */
union gs_request_message {
	uint64_t words[GS_REQUEST_SIZE / 8];
	struct gs_request head;
	struct gs_read_request read;
	struct gs_run_request run;
	struct gs_param_request param;
};

/** Each answer begins with this. */
struct gs_answer {
	/** Number of the request. Written last. */
	uint64_t sequence;
	/** Bytes of the message, a multiple of 8. */
	uint32_t size;
	/** CRC-32C of the message with 0 in this place; starts from the complement of gs_mailbox_seed(). */
	uint32_t crc;
	/** As in the request; kind and nonce are 0 where it was damaged. */
	uint32_t kind, monitor;
	uint64_t nonce;
	/** enum gs_request_status; if not 0, nothing follows this structure. */
	uint32_t status;
	uint32_t reserved;
	/** Engine clock when the request was seen, and when it was answered. */
	uint64_t seen_ns, answered_ns;
	/** The heartbeat's counter. */
	uint64_t beats;
};

struct gs_ping_answer {
	struct gs_answer answer;
	/** As in the heartbeat. */
	uint64_t start_ns, launched, stalled;
};

/** The page was there, and is read. Otherwise its bytes are 0. */
#define GS_PAGE_VALID 1
/** It changed while it was being read (GS_READ_F_VERIFY). */
#define GS_PAGE_TORN 2

/** All of its bytes, or of the part that was asked for, are 0: they need not be fetched. */
#define GS_PAGE_ZERO 4

/** What became of a page, or of the part of it that was asked for. */
struct gs_read_page {
	/** gs_read_check() of its bytes. */
	uint32_t check;
	/** GS_PAGE_* */
	uint32_t flags;
};

struct gs_read_answer {
	struct gs_answer answer;
	/** What was read: a multiple of GS_READ_UNIT each. */
	uint64_t address, length;
	/** Where the bytes lie, from the start of the mailbox. */
	uint64_t data;
	/** Entries that follow: one for each page of 4 KiB that the range touches. */
	uint32_t page_count;
	/** Those that are not valid. */
	uint32_t unreadable;
	struct gs_read_page pages[];
};

struct gs_run_answer {
	struct gs_answer answer;
	/** A run that started after the request has ended once the detector's row has `kicked` at or above this. */
	uint64_t kick;
};

struct gs_param_answer {
	struct gs_answer answer;
	/** Its value before, and now. */
	uint64_t before, value;
};

/** At the start of a monitor's part of the results; answers follow. Written by the supervisor. */
struct gs_monitor_state {
	/** The last request that was answered: the next one is to be this plus 1. */
	uint64_t last;
	/** Requests answered with status 0, and with another one. */
	uint64_t answered, refused;
	/** First words seen that were not those of the next request: replayed, stale, or made up. */
	uint64_t ignored;
	uint64_t reserved[3];
	uint32_t pad;
	/** CRC-32C of this structure with 0 in this place. */
	uint32_t crc;
};

/** Strands of gs_read_check(). */
#define GS_READ_STRANDS 32

/*
 * The check of a page's bytes, made so that 32 threads work on it together: unit k (16 bytes, two words) belongs to
 * strand k % 32. Each strand has the CRC-32C of its units in order; the check is the sum of (2 * s + 1) * crc[s], modulo 2^32.
 */

/** Bytes of one monitor's share of an area. */
static inline uint64_t gs_monitor_share(const struct gs_mailbox_area *area, uint32_t count,
					uint64_t align)
{
	return count ? area->size / count / align * align : 0;
}

/** Bytes from one answer to the next in a monitor's share of the results. */
static inline uint64_t gs_answer_stride(uint64_t share)
{
	return share < sizeof(struct gs_monitor_state)
		       ? 0
		       : (share - sizeof(struct gs_monitor_state)) / GS_REQUEST_DEPTH /
				 GS_MAILBOX_SLOT * GS_MAILBOX_SLOT;
}

#endif
