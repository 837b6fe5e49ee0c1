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

/** Put a record into the ring of its kind. @return false if it is larger than the ring takes. */
bool gs_mailbox_write(const struct gs_mailbox_writer *writer,
		      const struct gs_record_header *record);

/** The detector's row: a run begins at @p now_ns. */
void gs_mailbox_run_begin(const struct gs_mailbox_writer *writer, uint64_t now_ns);

/** The detector's row and the rings: the run that @p ctx describes has ended at @p now_ns. */
void gs_mailbox_run_end(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx,
			uint64_t now_ns);

/** The detector's row: it runs no more (GS_MAILBOX_STOPPED), or waits. */
void gs_mailbox_set_state(const struct gs_mailbox_writer *writer, enum gs_mailbox_state state);

/** One beat: looks at the detectors' controls. */
void gs_supervisor_beat(const struct gs_supervisor *supervisor, uint64_t now_ns,
			enum gs_mailbox_state state);

#endif
