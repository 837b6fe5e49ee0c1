/* SPDX-License-Identifier: Apache-2.0 */
// Two ends of a fabric on two machines, which learn of each other by lines of JSON over TCP: what the control port does
// in earnest. Every call ends the program if something goes wrong.
#ifndef TESTS_RDMA_EXCHANGE_H
#define TESTS_RDMA_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "grass/fabric.h"

struct json_object;

enum {
	EXCHANGE_SIZE = 16 << 20,
	EXCHANGE_SLOT = 4096,
	// Slots of monitors begin here.
	EXCHANGE_SLOTS = 65536,
	EXCHANGE_MONITORS = 8,
};

// What the mailbox holds at a multiple of 8, other than in slots.
uint64_t exchange_pattern(uint64_t offset);

// Give out a mailbox of @size bytes for ever, each monitor a slot. A monitor that says "detach" loses its access.
_Noreturn void exchange_serve(uint64_t size);

struct monitor {
	int fd;
	struct fabric_link *link;
	// Of its slot.
	uint64_t slot, rkey;
};

// A lying monitor believes in what it makes of the reply.
typedef void exchange_lie_fn(struct json_object *reply, const struct monitor *victim);

// @lie: NULL: an honest one.
struct monitor exchange_enter(const char *host, exchange_lie_fn *lie, const struct monitor *victim);
void exchange_leave(struct monitor *monitor);

// A connection as exchange_enter() makes it, a line said on it, and the answer.
int exchange_dial(const char *host);
struct json_object *exchange_ask(int fd, const char *line);

// The member @key of the object @object in a reply.
uint64_t exchange_number(struct json_object *reply, const char *object, const char *key);
void exchange_set(struct json_object *reply, const char *object, const char *key, uint64_t value);

struct gs_error *exchange_read(const struct monitor *monitor, uint64_t offset, void *buf,
			       size_t size);
struct gs_error *exchange_write(const struct monitor *monitor, uint64_t offset, const void *buf,
				size_t size);
void exchange_must(struct gs_error *error);
uint64_t exchange_ns(void);

#endif
