/* SPDX-License-Identifier: Apache-2.0 */
// A mailbox in this process with a supervisor over a synthetic machine's memory. The supervisor has no thread: it takes a
// turn before each read of whoever looks at the mailbox, at a time that moves on by as much as the test wants.
#ifndef TEST_MAILBOX_RIG_H
#define TEST_MAILBOX_RIG_H

#include "device_memory.h"

#include "mailbox.h"
#include "mailbox/client.h"
#include "mailbox/layout.h"
#include "request.h"

struct rig {
	struct gs_mailbox_header header;
	uint8_t *memory;
	struct mailbox_reader *reader;
	struct gs_supervisor supervisor;
	struct gs_block block;
	struct machine *machine;
	uint64_t now, step;
	// No turns are taken.
	bool asleep;
};

static inline void rig_turn(struct rig *rig)
{
	struct gs_piece piece;

	rig->now += rig->step;
	gs_requests_turn(&rig->supervisor, mailbox_crc32c(), rig->now, &piece);
	if (piece.size)
		gs_requests_copy(&rig->supervisor, mailbox_crc32c(), &piece);
}

static inline struct gs_error *rig_read(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct rig *rig = arg;

	assert_true(offset <= rig->header.size && size <= rig->header.size - offset);
	if (!rig->asleep)
		rig_turn(rig);
	memcpy(buf, rig->memory + offset, size);
	return NULL;
}

static inline struct gs_error *rig_write(void *arg, uint64_t offset, const void *buf, size_t size)
{
	struct rig *rig = arg;

	assert_true(offset <= rig->header.size && size <= rig->header.size - offset);
	assert_true(offset % 8 == 0 && size % 8 == 0);
	memcpy(rig->memory + offset, buf, size);
	return NULL;
}

static inline void must(struct gs_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static inline void rig_init(struct rig *rig)
{
	static const uint64_t slots[] = { 64, 256 };

	memset(rig, 0, sizeof(*rig));
	rig->step = 1000;
	mailbox_layout(&rig->header, GS_MAILBOX_CPU, slots);
	mailbox_seal_header(&rig->header);
	rig->memory = aligned_alloc(4096, rig->header.size);
	assert_non_null(rig->memory);
	memset(rig->memory, 0, rig->header.size);
	memcpy(rig->memory, &rig->header, sizeof(rig->header));
	rig->machine = machine_create(4);
	for (size_t i = 0; i < PAGES * PAGE / 8; i++)
		((uint64_t *)rig->machine->ram)[i] = i * UINT64_C(0x9e3779b97f4a7c15);
	// The tables that the machine has made so far: none but the topmost.
	memset(rig->machine->ram, 0, PAGE);
	for (size_t i = 0; i < HIGH_PAGES * PAGE / 8; i++)
		((uint64_t *)rig->machine->high)[i] = ~i;
	rig->supervisor.map = (uint64_t)&rig->machine->map;
	rig->supervisor.block = (uint64_t)&rig->block;
	mailbox_supervisor(&rig->supervisor, &rig->header, (uint64_t)rig->memory,
			   (uint64_t)mailbox_crc32c());
	gs_requests_begin(&rig->supervisor, mailbox_crc32c());
	must(mailbox_reader_create(rig_read, rig, &rig->reader));
}

static inline void rig_deinit(struct rig *rig)
{
	mailbox_reader_destroy(rig->reader);
	machine_destroy(rig->machine);
	free(rig->memory);
}

static inline struct mailbox_client *rig_client(struct rig *rig, uint32_t monitor)
{
	struct mailbox_client *client;

	must(mailbox_client_create(rig->reader, rig_write, rig, monitor, &client));
	return client;
}

static inline struct gs_monitor_state *rig_state(struct rig *rig, uint32_t monitor)
{
	return (struct gs_monitor_state *)(rig->supervisor.results +
					   monitor * rig->supervisor.result_share);
}

struct got {
	struct rig *rig;
	uint8_t *bytes;
	uint64_t begin, size, next, valid, invalid;
};

static inline struct gs_error *rig_keep(void *arg, uint64_t address, const void *bytes, size_t size,
					uint32_t flags)
{
	const uint8_t *first = bytes;
	struct got *got = arg;
	uint64_t end = address + size;

	assert_int_equal(address, got->next);
	assert_true(size > 0 && end <= got->begin + got->size);
	// Whole pages, but for where the range begins and ends.
	assert_true(address % PAGE == 0 || address == got->begin);
	assert_true(end % PAGE == 0 || end == got->begin + got->size);
	memcpy(got->bytes + (address - got->begin), bytes, size);
	got->next += size;
	if (flags & GS_PAGE_VALID)
		got->valid += mailbox_pages(address, size);
	else
		got->invalid += mailbox_pages(address, size);
	assert_false(flags & GS_PAGE_TORN);
	// A page of zeros was not fetched, any other was.
	for (size_t at = -address % PAGE; flags & GS_PAGE_VALID && at + PAGE <= size; at += PAGE)
		assert_int_equal(!(flags & GS_PAGE_ZERO),
				 first[at] || memcmp(first + at, first + at + 1, PAGE - 1));
	return NULL;
}

static inline struct got rig_fetch(struct rig *rig, struct mailbox_client *client,
				   enum gs_read_space space, uint64_t address, uint64_t size)
{
	struct got got = {
		.rig = rig,
		.bytes = malloc(size + 1),
		.begin = address,
		.size = size,
		.next = address,
	};

	must(mailbox_client_read(client, space, GS_READ_F_VERIFY, address, size, rig_keep, &got));
	assert_int_equal(got.next, address + size);
	return got;
}

#endif
