/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The mailbox: the one region of memory by which a watched machine is seen from outside. In GPU memory
 * for the cuda engine, in shared memory for the cpu engine; docs/mailbox.md tells it at length.
 *
 * Little-endian, fixed-width, every structure a multiple of 8 bytes. A reader gets at it by DMA or RDMA,
 * which may see the parts of a structure in any order: what changes carries a CRC-32C (crc32c.h), and a
 * reader that finds it wrong reads once more. Readers trust nothing else in it either.
 */
#ifndef GPUSENTINEL_MAILBOX_H
#define GPUSENTINEL_MAILBOX_H

#include <stdint.h>

#include <gpusentinel/record.h>

#define GS_MAILBOX_MAGIC "GSMBOX\r\n"
/** Goes up when a reader of the old layout would go wrong; what is reserved may come into use without. */
#define GS_MAILBOX_VERSION 4

/** Rows of the detector table. The heartbeat has one bit for each. */
#define GS_MAILBOX_DETECTORS 64
/** Monitors that a mailbox serves at most. The last one is for programs on the watched side itself. */
#define GS_MAILBOX_MONITORS 16
/** Bytes of a slot: entries of a ring begin at slots. */
#define GS_MAILBOX_SLOT 64

enum gs_mailbox_engine {
	GS_MAILBOX_CPU = 1,
	GS_MAILBOX_CUDA = 2,
};

/** Rings: findings have their own, so that no table's rows ever push a finding out. */
enum gs_mailbox_ring_index {
	GS_MAILBOX_FINDINGS = 0,
	/** Rows and metrics. */
	GS_MAILBOX_DATA = 1,
	GS_MAILBOX_RINGS = 2,
};

/** A part of the mailbox. */
struct gs_mailbox_area {
	/** Bytes from the start of the header; a multiple of 64. 0 with size 0: this mailbox lacks it. */
	uint64_t offset;
	uint64_t size;
};

/** At the start of the mailbox. Written before anything else, and never again. */
struct gs_mailbox_header {
	/** GS_MAILBOX_MAGIC */
	char magic[8];
	/** GS_MAILBOX_VERSION */
	uint32_t version;
	/** CRC-32C of this structure with 0 in this place. */
	uint32_t crc;
	/** Bytes of the whole mailbox. */
	uint64_t size;
	/** Random, not to be told to who is watched: a reader that finds another one forgets what it knew. */
	uint64_t instance[2];
	/** enum gs_mailbox_engine */
	uint32_t engine;
	/** Rows of the detector table: at most GS_MAILBOX_DETECTORS. */
	uint32_t detector_count;
	/** Add to a time of the engine's clock for nanoseconds since the epoch (two's complement). */
	int64_t wall_offset_ns;
	/** struct gs_mailbox_heartbeat */
	struct gs_mailbox_area heartbeat;
	/** struct gs_mailbox_detector */
	struct gs_mailbox_area detectors;
	/** struct gs_mailbox_ring and its slots, by enum gs_mailbox_ring_index. */
	struct gs_mailbox_area rings[GS_MAILBOX_RINGS];
	/** struct gs_mailbox_metric: latest value of each metric. */
	struct gs_mailbox_area metrics;
	/** Equal parts for each monitor, see gpusentinel/request.h. Only the monitor writes its part of requests. */
	struct gs_mailbox_area requests, results, bulk;
	/** Equal parts for each row of the detector table: struct gs_mailbox_formats. */
	struct gs_mailbox_area formats;
	/** struct gs_mailbox_memory */
	struct gs_mailbox_area memory;
	/** At most GS_MAILBOX_MONITORS. */
	uint32_t monitor_count;
	/**
	 * How many mailboxes whose numbers this one continues have been there since the machine booted: 0: none, and all
	 * numbers begin at 0.
	 */
	uint32_t epoch;
	/** What is watched (uname -r), by which means, on what; NUL-terminated. */
	char release[64], target[128], device[64];
};

enum gs_mailbox_state {
	/** The row is free, or the supervisor was never launched. */
	GS_MAILBOX_EMPTY = 0,
	/** Waits for its next period. */
	GS_MAILBOX_WAITING = 1,
	/** Is in a run, since last_start_ns. */
	GS_MAILBOX_RUNNING = 2,
	/** Was told to stop. */
	GS_MAILBOX_STOPPED = 3,
};

/** The supervisor's sign of life. */
struct gs_mailbox_heartbeat {
	/** One more at each beat. */
	uint64_t counter;
	/** Engine clock at this beat and at the first one, nanoseconds. */
	uint64_t time_ns, start_ns;
	/** Nanoseconds from beat to beat, as intended. */
	uint64_t period_ns;
	/** Bit N: detector N is supposed to run; it has been in one run for too long. */
	uint64_t launched, stalled;
	uint64_t reserved;
	/** enum gs_mailbox_state */
	uint32_t state;
	/** CRC-32C of this structure with 0 in this place. */
	uint32_t crc;
};

/** A row of the detector table. Numbers count from the start of the mailbox. */
struct gs_mailbox_detector {
	/** NUL-terminated; cut if longer. */
	char name[48];
	/** enum gs_mailbox_state */
	uint32_t state;
	/** Microseconds from the start of one run to the start of the next. */
	uint32_t period_us;
	/** What it occupies. */
	uint32_t blocks, threads;
	/** Runs that have ended. */
	uint64_t runs;
	/** Engine clock at the start of the last run; how long the last one that ended took, and the longest. */
	uint64_t last_start_ns, last_ns, max_ns;
	/** Loads that could not be translated; address of the first one ever; page-table walks. */
	uint64_t faults, fault_address, walks;
	/** Records put into each ring. */
	uint64_t records[GS_MAILBOX_RINGS];
	/** Records that fitted neither the detector's buffer nor the ring. */
	uint64_t lost;
	/** Runs that ended early because of: budget, bounds, trap. */
	uint64_t stopped_budget, stopped_bounds, stopped_trap;
	/** enum gs_stop and site index of the last early end. */
	uint32_t stop, stop_site;
	/** Which of the detectors that have had this row, from 1: what earlier ones left elsewhere is not this one's. */
	uint32_t generation;
	/** CRC-32C of this row's struct gs_mailbox_formats, over its size; 0: none. */
	uint32_t formats_crc;
	/** Metrics for which the metrics area had no place. */
	uint64_t metrics_lost;
	/** The last request to run now (struct gs_run_answer) that a run which has ended has fulfilled. */
	uint64_t kicked;
	uint64_t reserved[6];
	uint32_t pad;
	/** CRC-32C of this structure with 0 in this place. */
	uint32_t crc;
};

/** At the start of a ring's area; slots follow. */
struct gs_mailbox_ring {
	/** Slots handed to writers since the start; the next entry begins at slot head % slots. */
	uint64_t head;
	/** Where @ref head began: what lies before was another mailbox's. */
	uint64_t first;
	uint64_t reserved[6];
};

/**
 * An entry of a ring: this, then @ref size bytes of a record (struct gs_record_header and items). It takes
 * whole slots, and goes on in slot 0 behind the last one.
 */
struct gs_mailbox_entry {
	/** Number of its first slot since the start, plus 1. Written last; anything else: not (yet) an entry. */
	uint64_t commit;
	/** Bytes of the record; a multiple of 8. */
	uint32_t size;
	/**
	 * CRC-32C of this structure with 0 in this place, and of the record; starts from gs_mailbox_seed(): what
	 * the watched machine wrote can end up in a record, and must not pass for an entry.
	 */
	uint32_t crc;
	/** Row of the detector table, and its generation when this was written. */
	uint32_t detector;
	uint32_t generation;
	/** Which of the detector's records in this ring, from 0: a gap tells how many a reader missed. */
	uint64_t sequence;
};

/** Words of a metric's labels at most. */
#define GS_MAILBOX_LABELS 8

/** An entry of the metrics area: the latest value of one metric with one set of labels. */
struct gs_mailbox_metric {
	/** 0: free. Else a number that stands for detector, generation, format and labels, for writers to find it by. */
	uint64_t key;
	/** Non-zero while it is being written. */
	uint64_t busy;
	/** What follows is sealed. Bits of the value, as in a record's first item. */
	uint64_t value;
	/** Engine clock, nanoseconds. */
	uint64_t time_ns;
	/** Row of the detector table, its generation, and the index into its formats. */
	uint32_t detector, generation, format;
	/** Bytes of @ref labels. */
	uint32_t size;
	/** The record's items behind the value. */
	uint64_t labels[GS_MAILBOX_LABELS];
	uint32_t reserved[3];
	/** CRC-32C from @ref value on with 0 in this place; starts from gs_mailbox_seed(). */
	uint32_t crc;
};

/**
 * In the place of an enum gs_record_kind: no format but a parameter, "limit_ms: milliseconds that a task may wait".
 * Parameters follow the formats; number N of them is number N of struct gs_param_request.
 */
#define GS_FORMAT_PARAM 0x100

/** A format string of a detector: what the items of its records mean (fat.h, struct gs_fat_format). */
struct gs_mailbox_format {
	/** NUL-terminated string, in bytes from the start of struct gs_mailbox_formats; 0: it did not fit. */
	uint32_t offset;
	/** enum gs_record_kind, or GS_FORMAT_PARAM */
	uint16_t kind;
	/** Items in a record. */
	uint16_t nargs;
};

/** A detector's formats; its row says their CRC and so whether they are its own. Written before its first run. */
struct gs_mailbox_formats {
	/** Bytes with the strings, a multiple of 8. */
	uint32_t size;
	/** Entries that follow. */
	uint32_t count;
	struct gs_mailbox_format entries[];
};

/** Memory that the target has: page-aligned, sorted, apart from each other. */
struct gs_mailbox_segment {
	uint64_t phys, size;
};

/** What there is to be read by requests, and what who makes a core of it must know. Written once, before the header. */
struct gs_mailbox_memory {
	/** CRC-32C of this structure and its segments with 0 in this place. */
	uint32_t crc;
	uint32_t segment_count;
	/** Physical address of the kernel's VMCOREINFO ELF note: header, name, and so many bytes of text. */
	uint64_t note_phys;
	uint32_t note_size;
	uint32_t reserved;
	/** Virtual address of physical address 0 in the direct map; 0: unknown. */
	uint64_t direct_base;
	/** The kernel image: virtual and physical start, bytes; image_size 0: unknown. */
	uint64_t image_base, image_phys, image_size;
	struct gs_mailbox_segment segments[];
};

/** What the CRC of an entry starts from. */
static inline uint32_t gs_mailbox_seed(const struct gs_mailbox_header *header)
{
	return (uint32_t)(header->instance[0] ^ header->instance[1] >> 32);
}

/** Slots of an entry with @p size bytes of record. */
static inline uint64_t gs_mailbox_entry_slots(uint64_t size)
{
	return (sizeof(struct gs_mailbox_entry) + size + GS_MAILBOX_SLOT - 1) / GS_MAILBOX_SLOT;
}

#endif
