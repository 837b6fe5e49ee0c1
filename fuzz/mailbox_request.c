// SPDX-License-Identifier: Apache-2.0
// Requests, as a monitor may write them, and answers as a mailbox may show them. The input is a list of writes into a
// monitor's slot: two bytes of place, one of length and purpose, then the bytes. The supervisor takes turns in between.
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/ctx.h>

#include "mailbox/client.h"
#include "mailbox/layout.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 64, OWN = 2 };

static struct {
	struct gs_mailbox_header header;
	uint8_t *memory;
	uint64_t *present;
	uint8_t *ram;
	struct gs_map map;
	struct gs_map_segment segment;
	struct gs_block block;
	struct gs_control control;
	struct gs_supervisor supervisor;
} rig;

static void create(void)
{
	static const uint64_t slots[] = { 16, 64 };

	mailbox_layout(&rig.header, GS_MAILBOX_CPU, slots);
	memset(rig.header.instance, 0, sizeof(rig.header.instance));
	mailbox_seal_header(&rig.header);
	rig.memory = aligned_alloc(64, rig.header.size);
	memset(rig.memory, 0, rig.header.size);
	rig.ram = calloc(PAGES, 4096);
	rig.present = calloc(1, 8);
	*rig.present = ~UINT64_C(0x50);
	rig.segment = (struct gs_map_segment){
		.end = PAGES * 4096,
		.base = (uint64_t)rig.ram,
		.present = (uint64_t)rig.present,
	};
	rig.map = (struct gs_map){
		.direct_base = UINT64_C(0xffff888000000000),
		.direct_size = UINT64_C(1) << 40,
		.levels = 4,
		.segment_count = 1,
		.phys_mask = GS_PTE_ADDR,
		.segments = (uint64_t)&rig.segment,
	};
}

// All that the monitor said and was told.
static void forget(void)
{
	uint64_t requests =
		gs_monitor_share(&rig.header.requests, rig.header.monitor_count, GS_MAILBOX_SLOT);
	uint64_t results =
		gs_monitor_share(&rig.header.results, rig.header.monitor_count, GS_MAILBOX_SLOT);

	memset(rig.memory + rig.header.requests.offset + OWN * requests, 0, requests);
	memset(rig.memory + rig.header.results.offset + OWN * results, 0, results);
}

static void turn(uint64_t *now)
{
	struct gs_piece piece;

	*now += 3000000;
	gs_requests_turn(&rig.supervisor, mailbox_crc32c(), *now, &piece);
	if (!piece.size)
		return;
	if (piece.size > GS_PIECE_SIZE)
		abort();
	gs_requests_copy(&rig.supervisor, mailbox_crc32c(), &piece);
}

// What is not this monitor's stays as it was: zero.
static void check_rest(void)
{
	const struct gs_supervisor *s = &rig.supervisor;
	const uint8_t *results = (const uint8_t *)s->results,
		      *windows = (const uint8_t *)s->windows;

	// Beside the borders, where an error would show first.
	for (uint64_t i = 1; i <= 64; i++) {
		uint64_t after = (OWN + 1) * s->window_share + i - 1;

		if (windows[OWN * s->window_share - i] || windows[after] ||
		    results[OWN * s->result_share - i])
			abort();
	}
}

static struct gs_error *read_memory(void *arg, uint64_t offset, void *buf, size_t size)
{
	(void)arg;
	if (offset > rig.header.size || size > rig.header.size - offset)
		abort();
	memcpy(buf, rig.memory + offset, size);
	return NULL;
}

static struct gs_error *write_memory(void *arg, uint64_t offset, const void *buf, size_t size)
{
	(void)arg;
	if (offset > rig.header.size || size > rig.header.size - offset)
		abort();
	memcpy(rig.memory + offset, buf, size);
	return NULL;
}

static struct gs_error *take(void *arg, uint64_t address, const void *bytes, size_t size,
			     uint32_t flags)
{
	volatile uint64_t *sum = arg;

	(void)flags;
	for (size_t i = 0; i < size; i++)
		*sum += ((const uint8_t *)bytes)[i] + address;
	return NULL;
}

// An honest client meets answers that the input has made up.
static void be_lied_to(const uint8_t *data, size_t size)
{
	struct mailbox_reader *reader;
	struct mailbox_client *client;
	uint64_t answer = mailbox_answer_offset(&rig.header, OWN, 1) - rig.header.results.offset;
	volatile uint64_t sum = 0;
	struct gs_error *err;

	memcpy(rig.memory, &rig.header, sizeof(rig.header));
	forget();
	if (mailbox_reader_create(read_memory, NULL, &reader))
		abort();
	err = mailbox_client_create(reader, write_memory, NULL, OWN, &client);
	if (err)
		abort();
	mailbox_client_set_timeout(client, 0);

	// Given its numbers and its CRC, so that what lies behind that is reached; the nonce is not to be guessed.
	struct gs_read_answer *made =
		(struct gs_read_answer *)(rig.memory + rig.header.results.offset + answer);
	uint32_t room = 1024;

	memcpy(made, data, size < room ? size : room);
	made->answer.sequence = 1;
	made->answer.monitor = OWN;
	made->answer.crc = 0;
	if (made->answer.size <= room && made->answer.size % 8 == 0) {
		uint32_t crc = ~gs_mailbox_seed(&rig.header);
		const uint64_t *words = (const uint64_t *)made;

		for (uint32_t i = 0; i < made->answer.size / 8; i++)
			crc = gs_crc32c_word(mailbox_crc32c(), crc, words[i]);
		made->answer.crc = gs_crc32c_finish(crc);
	}

	struct gs_read_request request = { .request = { .monitor = OWN, .sequence = 1 },
					   .address = 0x1003,
					   .length = 5000,
					   .window = data[0] & 1 ? GS_READ_INLINE : 0 };

	if (mailbox_check_answer(&rig.header, &made->answer, room, OWN, 1) &&
	    mailbox_check_read(&rig.header, &request, made) &&
	    (made->data > rig.header.size || made->length > rig.header.size - made->data ||
	     made->page_count > 2))
		abort();
	gs_error_destroy(
		mailbox_client_read(client, GS_READ_PHYSICAL, 0, 0x1003, 5000, take, (void *)&sum));
	mailbox_client_destroy(client);
	mailbox_reader_destroy(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now = 1;

	if (!rig.memory)
		create();
	if (size < 4)
		return 0;
	forget();
	rig.supervisor = (struct gs_supervisor){
		.map = (uint64_t)&rig.map,
		.block = (uint64_t)&rig.block,
		.controls = { (uint64_t)&rig.control },
	};
	mailbox_supervisor(&rig.supervisor, &rig.header, (uint64_t)rig.memory,
			   (uint64_t)mailbox_crc32c());
	gs_requests_begin(&rig.supervisor, mailbox_crc32c());

	uint64_t share = rig.supervisor.request_share, sequence = 1;
	uint8_t *slot = (uint8_t *)rig.supervisor.requests + OWN * share;

	for (size_t at = 0; at + 3 < size;) {
		size_t place = (size_t)(data[at] | data[at + 1] << 8) % share;
		size_t n = data[at + 2] & 127;
		bool seal = data[at + 2] & 128;

		at += 3;
		if (n > size - at)
			n = size - at;
		if (n > share - place)
			n = share - place;
		if (seal) {
			// A whole request, whose contents are the input's.
			uint64_t message[GS_REQUEST_SIZE / 8] = {};
			struct gs_request *request = (struct gs_request *)message;
			static const uint32_t sizes[] = { 32, 40, 64, 64, 64, 512, 48, 24 };

			memcpy((uint8_t *)message + 16, data + at, n);
			mailbox_seal_request(&rig.header, request, sizes[place % 8],
					     place & 8 ? request->monitor : OWN, sequence);
			memcpy(slot + sequence % GS_REQUEST_DEPTH * GS_REQUEST_SIZE, message,
			       sizeof(message));
			sequence++;
		} else {
			memcpy(slot + place, data + at, n);
		}
		at += n;
		for (int i = 0; i < 8; i++)
			turn(&now);
	}
	// A large read is done in pieces.
	for (uint64_t i = 0; i < rig.supervisor.window_share / GS_PIECE_SIZE + 8; i++)
		turn(&now);
	check_rest();
	be_lied_to(data, size);
	return 0;
}
