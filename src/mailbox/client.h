/* SPDX-License-Identifier: Apache-2.0 */
// A monitor's side of requests (gpusentinel/request.h): what it writes into its slot, and what it makes of the
// answers. These may be damaged or made up; all of them is checked.
#ifndef GS_MAILBOX_CLIENT_H
#define GS_MAILBOX_CLIENT_H

#include <gpusentinel/request.h>

#include "mailbox/reader.h"

// Writes @size bytes at @offset of the mailbox, a multiple of 8 both. Bytes of one call may arrive in any order, but not before
// those of an earlier call.
typedef struct gs_error *mailbox_write_fn(void *arg, uint64_t offset, const void *buf, size_t size);

// Where request number @sequence of a monitor goes, and where its answer comes.
uint64_t mailbox_request_offset(const struct gs_mailbox_header *header, uint32_t monitor,
				uint64_t sequence);
uint64_t mailbox_answer_offset(const struct gs_mailbox_header *header, uint32_t monitor,
			       uint64_t sequence);
// Bytes of a monitor's window.
uint64_t mailbox_window_size(const struct gs_mailbox_header *header);

// Fill in a request's head, of which the caller has set kind and nonce, and its CRC. @size: of the whole message.
void mailbox_seal_request(const struct gs_mailbox_header *header, struct gs_request *request,
			  uint32_t size, uint32_t monitor, uint64_t sequence);

// True if @answer, of which @size bytes have been read, is the whole one to that request. A foreign nonce is the caller's
// to see.
bool mailbox_check_answer(const struct gs_mailbox_header *header, const struct gs_answer *answer,
			  size_t size, uint32_t monitor, uint64_t sequence);

// True if @answer, which is whole, can be the one to @request: what it says lies within what was asked for, and its data
// within the monitor's parts of the mailbox.
bool mailbox_check_read(const struct gs_mailbox_header *header,
			const struct gs_read_request *request, const struct gs_read_answer *answer);

// The check of @size bytes of a page (request.h), a multiple of GS_READ_UNIT.
uint32_t mailbox_read_check(const void *bytes, size_t size);
// The same as on CPUs without an instruction for it.
uint32_t mailbox_read_check_by_table(const void *bytes, size_t size);

struct mailbox_client;

// Speak as @monitor, which nobody else does at the time. What an earlier one left under way is waited for.
struct gs_error *mailbox_client_create(struct mailbox_reader *reader, mailbox_write_fn *write,
				       void *arg, uint32_t monitor, struct mailbox_client **ret);
void mailbox_client_destroy(struct mailbox_client *client);

// How long the following wait for an answer; at first five seconds.
void mailbox_client_set_timeout(struct mailbox_client *client, uint64_t ns);

// After an answer that did not come in time: wait for what is under way, so that the next request finds its place free.
struct gs_error *mailbox_client_synchronise(struct mailbox_client *client);

// Send a request and wait for its answer, of @answer_size bytes unless it was refused. Errors are GS_ERROR_OTHER: no answer,
// refused, damaged.
struct gs_error *mailbox_client_ping(struct mailbox_client *client, struct gs_ping_answer *ret);
// A run of a detector that starts after this; done when the row's `kicked` is at or above @kick_ret.
struct gs_error *mailbox_client_run(struct mailbox_client *client, uint32_t detector,
				    uint32_t generation, uint64_t *kick_ret);

// A parameter's value before and now; @set: give it @value. @param: its number (GS_FORMAT_PARAM).
struct gs_error *mailbox_client_param(struct mailbox_client *client, uint32_t detector,
				      uint32_t generation, uint32_t param, bool set, uint64_t value,
				      uint64_t *before_ret, uint64_t *value_ret);

// Called with memory in order: @size bytes from @address on, which begin and end with a page or with the range. @flags:
// GS_PAGE_*, of each page of them.
typedef struct gs_error *mailbox_memory_fn(void *arg, uint64_t address, const void *bytes,
					   size_t size, uint32_t flags);
// Pages that those bytes lie in.
uint64_t mailbox_pages(uint64_t address, size_t size);

// Read memory of the target through the window, several requests at a time. @flags: GS_READ_F_*.
struct gs_error *mailbox_client_read(struct mailbox_client *client, enum gs_read_space space,
				     uint32_t flags, uint64_t address, uint64_t length,
				     mailbox_memory_fn *fn, void *arg);

#endif
