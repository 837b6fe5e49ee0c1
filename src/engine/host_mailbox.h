/* SPDX-License-Identifier: Apache-2.0 */
// The mailbox of engines that run here: in shared memory, written by the code that writes it on GPUs.
#ifndef GS_ENGINE_HOST_MAILBOX_H
#define GS_ENGINE_HOST_MAILBOX_H

#include "engine/internal.h"
#include "mailbox/reader.h"

struct host_mailbox;

// With a heartbeat from now on.
struct gs_error *host_mailbox_create(struct gs_engine *engine, struct host_mailbox **ret);
void host_mailbox_destroy(struct host_mailbox *mailbox);

// Give a detector its row, in gs_detector.control. Detectors beyond the table's end run without one.
void host_mailbox_add(struct host_mailbox *mailbox, struct gs_detector *detector);
void host_mailbox_remove(struct host_mailbox *mailbox, struct gs_detector *detector);

// Around each run; nothing for detectors without a row.
void host_mailbox_begin(struct gs_detector *detector);
void host_mailbox_end(struct gs_detector *detector, bool ran);

// A monitor wants a run of it now.
bool host_mailbox_wanted(const struct gs_detector *detector);

struct gs_error *host_mailbox_heartbeat(struct host_mailbox *mailbox,
					struct gs_mailbox_heartbeat *ret);
struct gs_error *host_mailbox_row(struct host_mailbox *mailbox, uint32_t index,
				  struct gs_mailbox_detector *ret);

struct gs_error *host_mailbox_progress(struct host_mailbox *mailbox,
				       struct gs_mailbox_progress *ret);

void host_mailbox_export(const struct host_mailbox *mailbox, struct gs_mailbox_export *ret);

#endif
