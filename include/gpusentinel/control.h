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
};

/** A detector that runs by itself. */
struct gs_control {
	/** Non-zero: return. The engine's; all else is the loop's once it is launched. */
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
};

#endif
