/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Requests of monitors (gpusentinel/request.h), as the supervisor serves them: the same code on the GPU and on
 * the CPU.
 *
 * One thread takes turns; what a turn leaves to be copied is done by all threads together, and is so little that
 * a beat is not late for it.
 */
#ifndef GS_DEVICE_REQUEST_H
#define GS_DEVICE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/control.h>
#include <gpusentinel/crc32c.h>
#include <gpusentinel/request.h>

/** Bytes of one piece at most: some microseconds of a PCIe link. */
#define GS_PIECE_SIZE 65536

/** Memory that is to be read: part of a request. */
struct gs_piece {
	/** enum gs_read_space, GS_READ_F_* */
	uint32_t space, flags;
	/** First byte and how many, of whole units; 0: nothing is to be done. */
	uint64_t address, size;
	/** Address that they go to, and of the struct gs_read_page of the first page. */
	uint64_t to, pages;
};

/** Take up what earlier supervisors of this mailbox have done. */
void gs_requests_begin(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c);

/**
 * Look at every monitor's slot, answer what can be answered at once, and choose a piece for all threads. One thread
 * calls it; the piece of the turn before has been done.
 *
 * @return true if there was anything to do.
 */
bool gs_requests_turn(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		      uint64_t now_ns, struct gs_piece *piece_ret);

/** Do a piece. Called by all threads of the supervisor's block, or by one thread on a CPU. */
void gs_requests_copy(const struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		      const struct gs_piece *piece);

#endif
