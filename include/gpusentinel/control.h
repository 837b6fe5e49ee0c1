/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What an engine shares with the code that runs by itself: a detector's loop and the supervisor. Compiled
 * for the host and for the device; addresses are those of the side that runs the code.
 *
 * `.visible .entry gs_loop_NAME(.param .u64 ctx, .param .u64 control)` in a fat detector's PTX runs the
 * detector on its period until told to stop; `gs_supervisor(.param .u64 supervisor)` beats.
 */
#ifndef GPUSENTINEL_CONTROL_H
#define GPUSENTINEL_CONTROL_H

#include <stdint.h>

#include <gpusentinel/fat.h>
#include <gpusentinel/mailbox.h>

/** A ring as its writers see it. */
struct gs_ring_view {
	/** Address of its struct gs_mailbox_ring. */
	uint64_t address;
	uint64_t slots;
};

/** One detector's way into the mailbox. Only its own loop uses it. */
struct gs_mailbox_writer {
	struct gs_ring_view rings[GS_MAILBOX_RINGS];
	/** Address of its struct gs_mailbox_detector. */
	uint64_t entry;
	/** Address of a struct gs_crc32c. */
	uint64_t crc32c;
	/** Row in the detector table. */
	uint32_t detector;
	/** What CRCs of entries start from: gs_mailbox_seed(). */
	uint32_t seed;
	/** As in its row. */
	uint32_t generation;
	/** Entries of the metrics area, and its address. */
	uint32_t metric_count;
	uint64_t metrics;
};

/** What a loop is told. */
enum gs_control_stop {
	GS_CONTROL_RUN = 0,
	/** Return. */
	GS_CONTROL_STOP = 1,
};

/** Parameters of a detector that monitors can set. */
#define GS_CONTROL_PARAMS 31

/** A detector that runs by itself. */
struct gs_control {
	/**
	 * GS_CONTROL_RUN, GS_CONTROL_STOP, or more: wait between two runs until this says something else, or so many
	 * nanoseconds have passed. The engine's; all else is the loop's once it is launched.
	 */
	uint64_t stop;
	/** Nanoseconds from the start of one run to the start of the next. */
	uint64_t period_ns;
	/** Back edges in one run. */
	uint64_t budget;
	struct gs_mailbox_writer writer;
	/** When the next run is due; 0: now. */
	uint64_t next_ns;
	/** Engine clock at the start of the run that is going on; 0: between runs. */
	uint64_t since_ns;
	/** Non-zero and new: a run is wanted now. The supervisor's. */
	uint64_t kick;
	/** The one that the last run, or the run that is going on, has fulfilled. */
	uint64_t kicked;
	/** Since when it waits, as @ref stop asks; 0: it does not. Non-zero: that was too long, and it goes on. */
	uint64_t parked, resumed;
	/** For all threads: non-zero: run; 0: return. */
	uint32_t go;
	/** Blocks that have come to where all meet, and how often all have met. */
	uint32_t arrived, met;
	/**
	 * Non-zero: the one block has so many threads, of which only the first runs the detector, as a detector of one
	 * thread; the others help to prepare its runs and to deliver what it found. The engine's.
	 */
	uint32_t solo;
	/** Address of the slots of the detector's file, and which of them are its parameters. The engine's. */
	uint64_t slots;
	uint32_t param_count, params[GS_CONTROL_PARAMS];
	/** What each block has for each ring: slots, and 2^32 times the number of records. */
	uint64_t totals[GS_MAILBOX_RINGS][GS_FAT_MAX_BLOCKS];
	/** How much of all that goes into the ring, in the same form, and the number of its first slot. */
	uint64_t taken[GS_MAILBOX_RINGS], position[GS_MAILBOX_RINGS];
};

/** What the supervisor knows of a monitor. */
struct gs_slot {
	/** The last request that was answered. */
	uint64_t last;
	/** When the first word of the next one was seen, while its CRC is not right yet; 0: it was not. */
	uint64_t damaged_ns;
	/** First word that was ignored last. */
	uint64_t ignored;
	/** A request to read that is being executed: what it said, and when it was seen. */
	uint64_t nonce, seen_ns;
	uint32_t reading, space, flags, page_count;
	/** Of whole units: the range, how much of it is done, and the address that it goes to. */
	uint64_t address, length, done, to;
};

/** Threads of the block in which a detector of one thread runs by itself. */
#define GS_SOLO_THREADS 32

/** What gs_rt_loop_begin() tells a thread to do. */
enum gs_loop_go {
	/** Return. */
	GS_LOOP_RETURN = 0,
	/** Run the detector. */
	GS_LOOP_RUN = 1,
	/** Another thread runs it: go to where the run has ended. */
	GS_LOOP_HELP = 2,
};

/** The supervisor. */
struct gs_supervisor {
	/** Non-zero: return. The engine's. */
	uint64_t stop;
	/** Nanoseconds between beats. */
	uint64_t period_ns;
	/** Addresses of the struct gs_mailbox_heartbeat and of a struct gs_crc32c. */
	uint64_t heartbeat, crc32c;
	/** Address of each detector's struct gs_control, and after how many nanoseconds a run is too long; 0: none. */
	uint64_t controls[GS_MAILBOX_DETECTORS];
	uint64_t stall_ns[GS_MAILBOX_DETECTORS];
	/** Address of the mailbox, and of each monitor's share of requests, answers, and bulk: the first, and bytes of one. */
	uint64_t mailbox;
	uint64_t requests, request_share, results, result_share, answer_stride, windows,
		window_share;
	/** At most GS_MAILBOX_MONITORS; 0: nobody is answered. */
	uint32_t monitor_count;
	/** gs_mailbox_seed() */
	uint32_t seed;
	/** As in struct gs_ctx: the target's memory. */
	uint64_t map, fault_fn, fault_arg, block;
	/** Requests to run a detector now, so far. */
	uint64_t kicks;
	/** The supervisor's own. Whose turn it was. */
	uint64_t turn;
	struct gs_slot slots[GS_MAILBOX_MONITORS];
};

/** Threads of the supervisor's one block. */
#define GS_SUPERVISOR_THREADS 256

#endif
