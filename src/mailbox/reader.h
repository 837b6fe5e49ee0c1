/* SPDX-License-Identifier: Apache-2.0 */
// Reading a mailbox, wherever it lies: in this process, in GPU memory, on another machine. What lies in
// it may be damaged or made up; the reader checks all of it and does a bounded amount of work.
#ifndef GS_MAILBOX_READER_H
#define GS_MAILBOX_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/mailbox.h>

struct mailbox_reader;

// Copies @size bytes at @offset of the mailbox; both are inside it. The bytes may be of different moments.
typedef struct gs_error *mailbox_read_fn(void *arg, uint64_t offset, void *buf, size_t size);

// Called with a record: @size bytes, aligned to 8, whose CRC is right. Its contents are unchecked.
typedef struct gs_error *mailbox_entry_fn(void *arg, uint32_t detector, const void *record,
					  uint32_t size);

struct gs_error *mailbox_reader_create(mailbox_read_fn *read, void *arg,
				       struct mailbox_reader **ret);
void mailbox_reader_destroy(struct mailbox_reader *reader);

const struct gs_mailbox_header *mailbox_reader_header(const struct mailbox_reader *reader);

struct gs_error *mailbox_read_heartbeat(struct mailbox_reader *reader,
					struct gs_mailbox_heartbeat *ret);
// One row of the detector table; its name ends.
struct gs_error *mailbox_read_detector(struct mailbox_reader *reader, uint32_t index,
				       struct gs_mailbox_detector *ret);

// Deliver what has come into a ring since the last call (at first: since its start), in order. An error
// of @fn ends the call; the record counts as delivered. @count_ret: records delivered.
struct gs_error *mailbox_poll(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring,
			      mailbox_entry_fn *fn, void *arg, uint64_t *count_ret);

// Records of a detector that were overwritten before they were read, as far as later ones tell.
uint64_t mailbox_missed(const struct mailbox_reader *reader, uint32_t detector);

#endif
