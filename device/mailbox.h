/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The writing side of the mailbox (gpusentinel/mailbox.h): the same code on the GPU and on the CPU.
 */
#ifndef GS_DEVICE_MAILBOX_H
#define GS_DEVICE_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/control.h>
#include <gpusentinel/crc32c.h>
#include <gpusentinel/ctx.h>

/** Records of one thread, one behind the other. */
struct gs_mailbox_cursor {
	/** Address of the next one, and the end of the bytes among which it is. */
	uint64_t at, end;
	/**
	 * Address of the record buffer, offset in it of the chunk that goes on (0: none), and how many chunks may still be
	 * entered.
	 */
	uint64_t out, chunks;
	uint32_t next;
	/** How many more, at most. */
	uint32_t left;
};

/** What records take in the rings. */
struct gs_mailbox_share {
	uint64_t slots[GS_MAILBOX_RINGS], records[GS_MAILBOX_RINGS];
};

/** Where a thread's records go in one ring: first slot and sequence; slots that it may fill. */
struct gs_mailbox_place {
	uint64_t position, sequence, slots;
};

/** The first record of the run that @p ctx describes: of this thread, where there are several. */
struct gs_mailbox_cursor gs_mailbox_first(const struct gs_ctx *ctx);
/** Add up what the records take. @return how many are larger than a ring takes; they are left out everywhere. */
uint64_t gs_mailbox_count(const struct gs_mailbox_writer *writer,
			  const struct gs_mailbox_cursor *from, struct gs_mailbox_share *share);
/** As gs_mailbox_count() for one ring, until a record ends beyond @p slots. @return false: one does. */
bool gs_mailbox_fit(const struct gs_mailbox_writer *writer, const struct gs_mailbox_cursor *from,
		    uint32_t ring, uint64_t slots, struct gs_mailbox_share *share);
/** Take slots of a ring. @return the number of the first. */
uint64_t gs_mailbox_reserve(const struct gs_mailbox_writer *writer, uint32_t ring, uint64_t slots);
/** Write the records into reserved slots, until one ends beyond those of its ring. */
void gs_mailbox_fill(const struct gs_mailbox_writer *writer, const struct gs_mailbox_cursor *from,
		     const struct gs_mailbox_place places[GS_MAILBOX_RINGS]);

/** Put a record into the ring of its kind. @return false if it is larger than the ring takes. */
bool gs_mailbox_write(const struct gs_mailbox_writer *writer,
		      const struct gs_record_header *record);

/**
 * Put all records of the run that @p ctx describes into the rings, from one thread. They go by half a ring at a time: of
 * more than a ring holds, a reader sees the last.
 * @return records larger than a ring takes.
 */
uint64_t gs_mailbox_publish(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx);

/** The detector's row: a run begins at @p now_ns. */
void gs_mailbox_run_begin(const struct gs_mailbox_writer *writer, uint64_t now_ns);

/**
 * The detector's row: the run that @p ctx describes has ended at @p now_ns, and its records have been published, but for
 * @p lost ones.
 */
void gs_mailbox_run_end(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx,
			uint64_t lost, uint64_t now_ns);

/** The detector's row: it runs no more (GS_MAILBOX_STOPPED), or waits. */
void gs_mailbox_set_state(const struct gs_mailbox_writer *writer, enum gs_mailbox_state state);

/** One beat: looks at the detectors' controls. */
void gs_supervisor_beat(const struct gs_supervisor *supervisor, uint64_t now_ns,
			enum gs_mailbox_state state);

#endif
