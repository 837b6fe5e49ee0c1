/* SPDX-License-Identifier: Apache-2.0 */
// Mailboxes that go on with the numbers of an earlier one: engines write where they begin, before anything else is written.
#ifndef GS_MAILBOX_PROGRESS_H
#define GS_MAILBOX_PROGRESS_H

#include <gpusentinel/engine.h>

#include "mailbox/reader.h"

// How far the numbers have come. A row that is just being written is waited for.
struct gs_error *mailbox_read_progress(struct mailbox_reader *reader,
				       struct gs_mailbox_progress *ret);

// A ring, and a row without a detector, as they are at the start of a mailbox that goes on from @from.
void mailbox_first_ring(const struct gs_mailbox_progress *from, uint32_t ring,
			struct gs_mailbox_ring *ret);
void mailbox_first_row(const struct gs_mailbox_progress *from, uint32_t index,
		       struct gs_mailbox_detector *ret);

#endif
