/* SPDX-License-Identifier: Apache-2.0 */
// What a bad monitor is made of. Every call ends the program if something goes wrong.
#ifndef TESTS_RDMA_BADMONITOR_H
#define TESTS_RDMA_BADMONITOR_H

#include "grass/control.h"
#include "mailbox/client.h"

#define SECOND UINT64_C(1000000000)
// What is nowhere in the mailbox by itself.
#define MARK UINT64_C(0x6261646d6f6e2121)

// A session, and a way around what it allows.
struct monitor {
	struct grass_session *session;
	struct mailbox_reader *reader;
	struct mailbox_client *client;
	const struct gs_mailbox_header *header;
	const struct fabric_link_ops *fabric;
	struct fabric_link *link;
	uint32_t index;
};

void bad_must(struct gs_error *error);
// It fails, and says @words.
void bad_must_fail(struct gs_error *error, const char *words);

struct monitor bad_enter(const struct fabric_link_ops *fabric);
void bad_leave(struct monitor *monitor);
// It behaves, and is answered.
void bad_is_heard(struct monitor *monitor);
struct gs_monitor_state bad_state_of(struct monitor *monitor);

// A message into the place of request @place, its first word last.
void bad_put_message(struct monitor *monitor, uint64_t place,
		     const union gs_request_message *message, size_t size);
// Wait until request @sequence is answered.
struct gs_answer bad_answer_to(struct monitor *monitor, uint64_t sequence);
void bad_must_be(const struct gs_answer *answer, uint32_t status, const char *what);

// Requests of the past, and answers of the past.
void bad_replay(void);
void bad_recording(void);

#endif
