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

// Begins to read as mailbox_read_fn does: the bytes are there when a later mailbox_read_fn or mailbox_finish_fn has returned
// without an error. @buf stays until then, or until one of them has returned an error.
typedef mailbox_read_fn mailbox_start_fn;
typedef struct gs_error *mailbox_finish_fn(void *arg);

// Memory of @size bytes for what is read with these, one piece; it stays until the next call, or until the reader ends.
typedef struct gs_error *mailbox_buffer_fn(void *arg, size_t size, void **ret);

// Called with a record: entry->size bytes, aligned to 8, whose CRC is right. Its contents are unchecked; the entry's
// detector is a row of the table.
typedef struct gs_error *mailbox_entry_fn(void *arg, const struct gs_mailbox_entry *entry,
					  const void *record);

// Called with a metric of a row of the table, whose CRC is right. At most GS_MAILBOX_LABELS words of labels.
typedef struct gs_error *mailbox_metric_fn(void *arg, const struct gs_mailbox_metric *metric);

struct gs_error *mailbox_reader_create(mailbox_read_fn *read, void *arg,
				       struct mailbox_reader **ret);
void mailbox_reader_destroy(struct mailbox_reader *reader);

// Bytes of the mailbox, without looking at them. GS_ERROR_OTHER outside of it.
struct gs_error *mailbox_read(struct mailbox_reader *reader, uint64_t offset, void *buf,
			      size_t size);

// Reads that are under way while the caller does something else; without this, mailbox_start() reads at once. @buffer: NULL if
// any memory is as good.
void mailbox_reader_set_start(struct mailbox_reader *reader, mailbox_start_fn *start,
			      mailbox_finish_fn *finish, mailbox_buffer_fn *buffer);
// As mailbox_read(), but the bytes are there after a later mailbox_read() or mailbox_finish().
struct gs_error *mailbox_start(struct mailbox_reader *reader, uint64_t offset, void *buf,
			       size_t size);
struct gs_error *mailbox_finish(struct mailbox_reader *reader);
// Memory which takes the least work to read into: one piece, the reader's, until the next call or its end. Not while something is
// under way.
struct gs_error *mailbox_buffer(struct mailbox_reader *reader, size_t size, void **ret);

// How long what is wrong is read again, in one call; at first 200 ms. For tests.
void mailbox_set_patience(struct mailbox_reader *reader, uint64_t ns);
// Sleeps shortly, unless that has been the way for too long since the first time, when @since was 0.
bool mailbox_wait(const struct mailbox_reader *reader, uint64_t *since);

const struct gs_mailbox_header *mailbox_reader_header(const struct mailbox_reader *reader);

struct gs_error *mailbox_read_heartbeat(struct mailbox_reader *reader,
					struct gs_mailbox_heartbeat *ret);
// One row of the detector table; its name ends.
struct gs_error *mailbox_read_detector(struct mailbox_reader *reader, uint32_t index,
				       struct gs_mailbox_detector *ret);
// The first @count rows in one piece. One that is being written stays as it is in @rows; the bit of one that is new is
// set in @fresh_ret. At most 64.
struct gs_error *mailbox_read_detectors(struct mailbox_reader *reader, uint32_t count,
					struct gs_mailbox_detector *rows, uint64_t *fresh_ret);

// A structure whose CRC is at @crc, read again until it is right; @what names it in the error. All zero counts as right.
struct gs_error *mailbox_read_sealed(struct mailbox_reader *reader, const char *what,
				     uint64_t offset, void *structure, size_t size,
				     const uint32_t *crc);

// A detector's formats, of which everything has been checked: offsets lie inside, strings end. @row: of that detector.
// @ret is NULL if it has none; the caller ends it with free().
struct gs_error *mailbox_read_formats(struct mailbox_reader *reader, uint32_t index,
				      const struct gs_mailbox_detector *row,
				      struct gs_mailbox_formats **ret);

// What memory the target has, of which everything has been checked but that its addresses are true; the caller ends it with
// free(). GS_ERROR_OTHER if the mailbox does not say.
struct gs_error *mailbox_read_memory(struct mailbox_reader *reader, struct gs_mailbox_memory **ret);

// All metrics that have a value. @damaged_ret: entries that stayed wrong.
struct gs_error *mailbox_read_metrics(struct mailbox_reader *reader, mailbox_metric_fn *fn,
				      void *arg, uint64_t *damaged_ret);

// Deliver what has come into a ring since the last call (at first: since its start), in order. An error
// of @fn ends the call; the record counts as delivered. @count_ret: records delivered.
struct gs_error *mailbox_poll(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring,
			      mailbox_entry_fn *fn, void *arg, uint64_t *count_ret);

// Go on with what comes into the ring from now on.
struct gs_error *mailbox_skip(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring);
// Go on with the entry at this position (its commit - 1), or the next one that is still there.
void mailbox_seek(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring,
		  uint64_t position);
// How often something was overwritten before it was read, or given up as damaged: mailbox_missed() tells what that was
// only when the detector writes again.
uint64_t mailbox_gaps(const struct mailbox_reader *reader, enum gs_mailbox_ring_index ring);

// Records of a detector that were overwritten before they were read, as far as later ones tell.
uint64_t mailbox_missed(const struct mailbox_reader *reader, uint32_t detector);

#endif
