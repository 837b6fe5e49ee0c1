// SPDX-License-Identifier: Apache-2.0
// Requests: what monitors ask is answered, and what they must not ask harms nobody.
#include <inttypes.h>
#include <stdio.h>

#include "mailbox_rig.h"

// The code that becomes the supervisor's PTX.
#include "supervisor.c"

enum { DEPTH = GS_REQUEST_DEPTH, OWN = 3, OTHER = 5 };

static void pings_are_answered_in_order(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	((struct gs_mailbox_heartbeat *)rig.supervisor.heartbeat)->counter = 77;

	struct mailbox_client *client = rig_client(&rig, OWN);

	// Around the entries several times.
	for (uint64_t i = 1; i <= 3 * DEPTH + 1; i++) {
		struct gs_ping_answer pong;

		must(mailbox_client_ping(client, &pong));
		assert_int_equal(pong.answer.sequence, i);
		assert_int_equal(pong.answer.beats, 77);
		assert_int_equal(pong.answer.monitor, OWN);
		assert_true(pong.answer.answered_ns >= pong.answer.seen_ns);
	}
	assert_int_equal(rig_state(&rig, OWN)->answered, 3 * DEPTH + 1);
	assert_int_equal(rig_state(&rig, OWN)->ignored, 0);
	mailbox_client_destroy(client);
	// Whoever comes next goes on with the numbers; so does a supervisor that is launched again.
	gs_requests_begin(&rig.supervisor, mailbox_crc32c());
	client = rig_client(&rig, OWN);

	struct gs_ping_answer pong;

	must(mailbox_client_ping(client, &pong));
	assert_int_equal(pong.answer.sequence, 3 * DEPTH + 2);
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

static void physical_memory_is_read(void **state)
{
	static const struct {
		uint64_t address, size;
	} ranges[] = {
		{ RAM_PHYS, PAGE },	    { RAM_PHYS, 1 },
		{ RAM_PHYS + 4095, 2 },	    { RAM_PHYS + 17, 15 },
		{ RAM_PHYS + 4080, 4096 },  { RAM_PHYS + 5, 200000 },
		{ RAM_PHYS, PAGES * PAGE }, { RAM_PHYS + 1, PAGES * PAGE - 2 },
	};
	struct rig rig;

	(void)state;
	rig_init(&rig);

	struct mailbox_client *client = rig_client(&rig, OWN);

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		struct got got = rig_fetch(&rig, client, GS_READ_PHYSICAL, ranges[i].address,
					   ranges[i].size);

		assert_int_equal(got.invalid, 0);
		assert_memory_equal(got.bytes, machine_at(rig.machine, ranges[i].address),
				    ranges[i].size);
		free(got.bytes);
	}

	// A page that is not there, one that lies in no segment, and the end of all addresses.
	rig.machine->present[1] &= ~UINT64_C(4);

	struct got got = rig_fetch(&rig, client, GS_READ_PHYSICAL, RAM_PHYS + 65 * PAGE, 3 * PAGE);

	assert_int_equal(got.valid, 2);
	assert_int_equal(got.invalid, 1);
	for (size_t i = 0; i < PAGE; i++)
		assert_int_equal(got.bytes[PAGE + i], 0);
	free(got.bytes);
	got = rig_fetch(&rig, client, GS_READ_PHYSICAL, HIGH_PHYS - 2 * PAGE, 4 * PAGE);
	assert_int_equal(got.valid, 2);
	assert_memory_equal(got.bytes + 2 * PAGE, rig.machine->high, 2 * PAGE);
	free(got.bytes);
	got = rig_fetch(&rig, client, GS_READ_PHYSICAL, UINT64_MAX - 5000, 5000);
	assert_int_equal(got.valid, 0);
	free(got.bytes);
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

// What a CPU does in order and for zeros at a stroke is what a warp does, lane by lane.
static void a_warp_and_a_cpu_make_one_check(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 31, 32, 33, 64, 100, 255, 256 };
	_Alignas(16) static uint8_t page[PAGE + 16], one[PAGE], other[PAGE];

	(void)state;
	for (size_t i = 0; i < 4 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t units = sizes[i / 4], check = 0, torn = 0;
		uint8_t *from = page + (i & 1);
		uint64_t bits = 0;
		gs_word got;

		memset(page, 0, sizeof(page));
		for (uint32_t k = 0; i & 2 && k < units * 16; k++)
			from[k] = (uint8_t)(k * 7 + (k >> 8) + 1);
		memset(one, 0xee, sizeof(one));
		memset(other, 0xee, sizeof(other));
		read_page(mailbox_crc32c(), (uint64_t)from, (uint64_t)one, units, true, &got);
		for (uint32_t lane = 0; lane < GS_READ_STRANDS; lane++)
			check += (2 * lane + 1) * copy_strand(mailbox_crc32c(), (uint64_t)from,
							      (uint64_t)other, units, lane, true,
							      &torn, &bits);
		assert_int_equal((uint32_t)got, check);
		assert_int_equal(check, mailbox_read_check(from, units * 16));
		assert_int_equal(check, mailbox_read_check_by_table(from, units * 16));
		assert_int_equal(got >> 32, GS_PAGE_VALID | (bits ? 0 : GS_PAGE_ZERO));
		assert_int_equal(torn, 0);
		assert_memory_equal(one, other, PAGE);
		assert_memory_equal(one, from, units * 16);
	}
}

// Reads that were started come as late as they may.
static struct {
	struct rig *rig;
	struct fabric_read {
		uint64_t offset;
		void *buf;
		size_t size;
	} started[64];
	size_t count, most;
} late;

static struct gs_error *late_start(void *arg, uint64_t offset, void *buf, size_t size)
{
	(void)arg;
	assert_true(late.count < sizeof(late.started) / sizeof(late.started[0]));
	memset(buf, 0xee, size);
	late.started[late.count++] = (struct fabric_read){ offset, buf, size };
	if (late.count > late.most)
		late.most = late.count;
	return NULL;
}

static struct gs_error *late_finish(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < late.count; i++)
		memcpy(late.started[i].buf, late.rig->memory + late.started[i].offset,
		       late.started[i].size);
	late.count = 0;
	return NULL;
}

static struct gs_error *late_read(void *arg, uint64_t offset, void *buf, size_t size)
{
	must(late_finish(arg));
	return rig_read(late.rig, offset, buf, size);
}

static struct gs_error *no_more(void *arg, uint64_t address, const void *bytes, size_t size,
				uint32_t flags)
{
	(void)bytes;
	(void)flags;
	return address + size <= *(uint64_t *)arg ? NULL
						  : gs_error_create(GS_ERROR_OTHER, "no more");
}

enum { VIRTUAL_PAGES = 1030 };

// Another page next to each, and none of those that tables are made of.
static uint64_t virtual_page(uint64_t i)
{
	return RAM_PHYS + (8 + i * 37 % (PAGES - 8)) * PAGE;
}

static void data_may_come_late(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	mailbox_reader_destroy(rig.reader);
	late.rig = &rig;
	must(mailbox_reader_create(late_read, &rig, &rig.reader));
	mailbox_reader_set_start(rig.reader, late_start, late_finish, NULL);
	// Stretches of zeros, short and long ones, which are not fetched.
	memset(rig.machine->ram + 20 * PAGE, 0, PAGE);
	memset(rig.machine->ram + 30 * PAGE, 0, 20 * PAGE);
	memset(rig.machine->ram + 60 * PAGE, 0, 3 * PAGE);

	struct mailbox_client *client = rig_client(&rig, OWN);
	static const uint64_t sizes[] = { 1, PAGE, 70 * PAGE, PAGES * PAGE - 16 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct got got = rig_fetch(&rig, client, GS_READ_PHYSICAL, RAM_PHYS + 7, sizes[i]);

		assert_int_equal(late.count, 0);
		assert_memory_equal(got.bytes, rig.machine->ram + 7, sizes[i]);
		free(got.bytes);
	}
	assert_true(late.most > 1);

	// More than all requests that are under way at a time.
	memset(rig.machine->ram, 0, 8 * PAGE);
	for (uint64_t i = 0; i < VIRTUAL_PAGES; i++)
		machine_map(rig.machine, VMALLOC + i * PAGE, virtual_page(i), 1);

	struct got got = rig_fetch(&rig, client, GS_READ_VIRTUAL, VMALLOC, VIRTUAL_PAGES * PAGE);

	for (uint64_t i = 0; i < VIRTUAL_PAGES; i++)
		assert_memory_equal(got.bytes + i * PAGE,
				    rig.machine->ram + (virtual_page(i) - RAM_PHYS), PAGE);
	free(got.bytes);

	// Who does not want the rest has nothing under way.
	for (uint64_t i = 0; i < PAGES; i += 5) {
		uint64_t end = RAM_PHYS + i * PAGE;
		struct gs_error *err = mailbox_client_read(client, GS_READ_PHYSICAL, 0, RAM_PHYS,
							   PAGES * PAGE, no_more, &end);

		assert_non_null(err);
		assert_string_equal(err->message, "no more");
		gs_error_destroy(err);
		assert_int_equal(late.count, 0);
		// What it had asked for is answered meanwhile.
		must(mailbox_client_synchronise(client));
	}
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

static void virtual_memory_is_read(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	// Tables come from zeroed pages at the start of RAM.
	memset(rig.machine->ram, 0, 8 * PAGE);
	machine_map(rig.machine, VMALLOC, RAM_PHYS + 100 * PAGE, 1);
	machine_map(rig.machine, VMALLOC + PAGE, RAM_PHYS + 50 * PAGE, 1);
	// One that points nowhere.
	machine_map(rig.machine, VMALLOC + 3 * PAGE, UINT64_C(1) << 45, 1);

	struct mailbox_client *client = rig_client(&rig, 0);
	struct got got = rig_fetch(&rig, client, GS_READ_VIRTUAL, VMALLOC + 8, 4 * PAGE - 8);

	assert_int_equal(got.valid, 2);
	assert_int_equal(got.invalid, 2);
	assert_memory_equal(got.bytes, rig.machine->ram + 100 * PAGE + 8, PAGE - 8);
	assert_memory_equal(got.bytes + PAGE - 8, rig.machine->ram + 50 * PAGE, PAGE);
	free(got.bytes);
	// Translations do not outlive the page tables.
	machine_map(rig.machine, VMALLOC, RAM_PHYS + 101 * PAGE, 1);
	got = rig_fetch(&rig, client, GS_READ_VIRTUAL, VMALLOC, 16);
	assert_memory_equal(got.bytes, rig.machine->ram + 101 * PAGE, 16);
	free(got.bytes);
	got = rig_fetch(&rig, client, GS_READ_VIRTUAL, DIRECT + HIGH_PHYS, PAGE);
	assert_memory_equal(got.bytes, rig.machine->high, PAGE);
	free(got.bytes);
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

union request {
	struct gs_request head;
	struct gs_read_request read;
	struct gs_run_request run;
	uint8_t bytes[GS_REQUEST_SIZE];
};

// A request as number @sequence of a monitor, sealed as it says, and a few turns.
static const struct gs_answer *ask(struct rig *rig, union request *request, uint32_t size,
				   uint64_t sequence, uint32_t said_monitor)
{
	request->head.nonce = 0x1234 + sequence;
	mailbox_seal_request(&rig->header, &request->head, size, said_monitor, sequence);
	memcpy(rig->memory + mailbox_request_offset(&rig->header, OWN, sequence), request,
	       sizeof(*request));
	// A window's pieces, and some.
	for (uint64_t i = 0; i < mailbox_window_size(&rig->header) / GS_PIECE_SIZE + 4; i++)
		rig_turn(rig);
	return (const struct gs_answer *)(rig->memory +
					  mailbox_answer_offset(&rig->header, OWN, sequence));
}

static void assert_status(struct rig *rig, const struct gs_answer *answer, uint64_t sequence,
			  uint32_t status)
{
	assert_true(mailbox_check_answer(&rig->header, answer, 16384, OWN, sequence));
	assert_int_equal(answer->status, status);
	if (status)
		assert_int_equal(answer->size, sizeof(*answer));
}

static void what_cannot_be_is_refused(void **state)
{
	struct rig rig;
	uint64_t n = 0;

	(void)state;
	rig_init(&rig);

	uint64_t window = mailbox_window_size(&rig.header);
	const struct {
		struct gs_read_request read;
		uint32_t size, monitor, status;
	} bad[] = {
		{ { .request.kind = 99 }, 32, OWN, GS_STATUS_UNKNOWN },
		{ { .request.kind = 0 }, 32, OWN, GS_STATUS_UNKNOWN },
		{ { .request.kind = GS_REQUEST_PING }, 32, OTHER, GS_STATUS_FOREIGN },
		{ { .request.kind = GS_REQUEST_PING }, 40, OWN, GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_PING }, 512, OWN, GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ }, 32, OWN, GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 0 }, 64, OWN, GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 16, .space = 2 },
		  64,
		  OWN,
		  GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 16, .flags = 2 },
		  64,
		  OWN,
		  GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 16, .window = 8 },
		  64,
		  OWN,
		  GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 16, .window = window },
		  64,
		  OWN,
		  GS_STATUS_INVALID },
		{ { .request.kind = GS_REQUEST_READ, .length = 16, .window = UINT64_MAX - 15 },
		  64,
		  OWN,
		  GS_STATUS_INVALID },
	};
	union request request;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request = (union request){ .read = bad[i].read };
		n++;
		assert_status(&rig, ask(&rig, &request, bad[i].size, n, bad[i].monitor), n,
			      bad[i].status);
	}
	assert_int_equal(rig_state(&rig, OWN)->refused, n);
	for (uint32_t detector = 0; detector < 200; detector += 63) {
		request = (union request){ .run = { .request.kind = GS_REQUEST_RUN,
						    .detector = detector } };
		n++;
		assert_status(&rig, ask(&rig, &request, sizeof(request.run), n, OWN), n,
			      GS_STATUS_ABSENT);
	}
	rig_deinit(&rig);
}

// All of the mailbox but the monitor's own answers and window.
static uint32_t rest_of(const struct rig *rig)
{
	uint8_t *copy = malloc(rig->header.size);
	const struct gs_supervisor *s = &rig->supervisor;

	memcpy(copy, rig->memory, rig->header.size);
	memset(copy + (s->results - s->mailbox) + OWN * s->result_share, 0, s->result_share);
	memset(copy + (s->windows - s->mailbox) + OWN * s->window_share, 0, s->window_share);
	memset(copy + rig->header.requests.offset, 0, rig->header.requests.size);

	uint32_t crc =
		gs_crc32c_words(mailbox_crc32c(), (const uint64_t *)copy, rig->header.size / 8);

	free(copy);
	return crc;
}

static void lengths_are_clamped_to_the_window(void **state)
{
	struct rig rig;
	uint64_t n = 0;

	(void)state;
	rig_init(&rig);
	memset(rig.memory + rig.header.bulk.offset, 0x5a, rig.header.bulk.size);

	uint64_t window = mailbox_window_size(&rig.header);
	uint32_t before = rest_of(&rig);
	const struct {
		uint64_t address, length, window, got;
	} reads[] = {
		{ RAM_PHYS, UINT64_MAX, 0, window },
		{ RAM_PHYS + 9, UINT64_MAX, 0, window },
		{ RAM_PHYS, window + 1, 0, window },
		{ RAM_PHYS, 64, window - 16, 16 },
		{ RAM_PHYS, UINT64_MAX, window - 4096, 4096 },
		{ RAM_PHYS + 3, UINT64_MAX, GS_READ_INLINE, GS_READ_INLINE_MAX },
		{ RAM_PHYS + 4095, 1, GS_READ_INLINE, 16 },
		{ UINT64_MAX, 1, 0, 16 },
		{ UINT64_MAX, UINT64_MAX, 0, 16 },
		{ UINT64_MAX - 99, UINT64_MAX, GS_READ_INLINE, 112 },
		{ 0, UINT64_MAX, 0, window },
	};

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		union request request = { .read = {
						  .request.kind = GS_REQUEST_READ,
						  .address = reads[i].address,
						  .length = reads[i].length,
						  .window = reads[i].window,
					  } };

		n++;

		const struct gs_answer *answer = ask(&rig, &request, sizeof(request.read), n, OWN);
		const struct gs_read_answer *read = (const struct gs_read_answer *)answer;

		assert_status(&rig, answer, n, GS_STATUS_OK);
		assert_int_equal(read->length, reads[i].got);
		assert_int_equal(read->address, reads[i].address & ~UINT64_C(15));
		assert_true(mailbox_check_read(&rig.header, &request.read, read));
	}
	// Nobody else's anything was touched.
	assert_int_equal(rest_of(&rig), before);
	rig_deinit(&rig);
}

static void damage_is_waited_for_and_then_refused(void **state)
{
	struct rig rig;
	union request request = { .head.kind = GS_REQUEST_PING };

	(void)state;
	rig_init(&rig);

	struct gs_request *at =
		(struct gs_request *)(rig.memory + mailbox_request_offset(&rig.header, OWN, 1));
	const struct gs_answer *answer = ask(&rig, &request, 32, 1, OWN);

	assert_status(&rig, answer, 1, GS_STATUS_OK);
	// The first word is there before the rest: the request waits.
	rig.step = 0;
	at = (struct gs_request *)(rig.memory + mailbox_request_offset(&rig.header, OWN, 2));
	at->sequence = 2;
	for (int i = 0; i < 10; i++)
		rig_turn(&rig);
	answer = ask(&rig, &request, 32, 2, OWN);
	assert_status(&rig, answer, 2, GS_STATUS_OK);

	// Sizes and CRCs that are wrong for good; none of them stays for ever.
	static const uint32_t sizes[] = { 0, 8, 24, 33, 36, 520, UINT32_MAX, UINT32_MAX - 7, 32 };
	uint64_t n = 2;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		n++;
		mailbox_seal_request(&rig.header, &request.head, 32, OWN, n);
		request.head.size = sizes[i];
		request.head.crc ^= sizes[i] == 32;
		memcpy(rig.memory + mailbox_request_offset(&rig.header, OWN, n), &request, 32);
		rig.step = 1000000;
		for (int j = 0; j < 20; j++)
			rig_turn(&rig);
		answer = (const struct gs_answer *)(rig.memory +
						    mailbox_answer_offset(&rig.header, OWN, n));
		assert_status(&rig, answer, n, GS_STATUS_DAMAGED);
		assert_int_equal(answer->nonce, 0);
	}
	// Others never noticed.
	struct mailbox_client *client = rig_client(&rig, OTHER);
	struct gs_ping_answer pong;

	must(mailbox_client_ping(client, &pong));
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

static void what_is_out_of_turn_is_ignored(void **state)
{
	struct rig rig;
	union request request = { .head.kind = GS_REQUEST_RUN }, first;
	struct gs_control control = {};

	(void)state;
	rig_init(&rig);
	rig.supervisor.controls[0] = (uint64_t)&control;
	assert_status(&rig, ask(&rig, &request, sizeof(request.run), 1, OWN), 1, GS_STATUS_OK);
	first = request;
	assert_int_equal(control.kick, 1);
	for (uint64_t n = 2; n <= 30; n++)
		ask(&rig, &request, sizeof(request.run), n, OWN);
	assert_int_equal(control.kick, 30);

	// The first one once more, where it was and elsewhere; one of the far future, one just ahead.
	for (uint64_t entry = 0; entry < DEPTH; entry++) {
		memcpy(rig.memory + mailbox_request_offset(&rig.header, OWN, entry), &first,
		       sizeof(first));
		for (int i = 0; i < 5; i++)
			rig_turn(&rig);
	}
	ask(&rig, &request, sizeof(request.run), 32, OWN);
	ask(&rig, &request, sizeof(request.run), UINT64_MAX, OWN);
	assert_int_equal(control.kick, 30);
	assert_int_equal(rig_state(&rig, OWN)->last, 30);
	assert_true(rig_state(&rig, OWN)->ignored > 0);
	// Sent twice, done once; what lies ahead has its turn when it comes.
	ask(&rig, &request, sizeof(request.run), 32, OWN);
	ask(&rig, &request, sizeof(request.run), 31, OWN);
	ask(&rig, &request, sizeof(request.run), 31, OWN);
	assert_int_equal(control.kick, 32);
	assert_int_equal(rig_state(&rig, OWN)->last, 32);

	// Another detector has the row by now.
	control.writer.generation = 7;
	request.run.generation = 6;
	assert_status(&rig, ask(&rig, &request, sizeof(request.run), 33, OWN), 33,
		      GS_STATUS_ABSENT);
	request.run.generation = 7;
	assert_status(&rig, ask(&rig, &request, sizeof(request.run), 34, OWN), 34, GS_STATUS_OK);
	assert_int_equal(control.kick, 33);
	rig_deinit(&rig);
}

static void large_reads_hold_up_nobody(void **state)
{
	struct rig rig;
	union request request = { .read = { .request.kind = GS_REQUEST_READ,
					    .address = RAM_PHYS,
					    .length = UINT64_MAX } };

	(void)state;
	rig_init(&rig);
	mailbox_seal_request(&rig.header, &request.head, sizeof(request.read), OWN, 1);
	memcpy(rig.memory + mailbox_request_offset(&rig.header, OWN, 1), &request, sizeof(request));
	rig_turn(&rig);
	rig_turn(&rig);
	assert_int_equal(rig_state(&rig, OWN)->last, 0);

	union request ping = { .head.kind = GS_REQUEST_PING };

	mailbox_seal_request(&rig.header, &ping.head, sizeof(ping.head), OTHER, 1);
	memcpy(rig.memory + mailbox_request_offset(&rig.header, OTHER, 1), &ping, sizeof(ping));
	rig_turn(&rig);
	assert_int_equal(rig_state(&rig, OTHER)->last, 1);
	assert_int_equal(rig_state(&rig, OWN)->last, 0);

	// A supervisor that ends in the middle and is launched again does the request anew.
	gs_requests_begin(&rig.supervisor, mailbox_crc32c());
	for (uint64_t i = 0; i < mailbox_window_size(&rig.header) / GS_PIECE_SIZE + 8; i++)
		rig_turn(&rig);
	assert_int_equal(rig_state(&rig, OWN)->last, 1);
	assert_memory_equal((void *)(rig.supervisor.windows + OWN * rig.supervisor.window_share),
			    rig.machine->ram, PAGES * PAGE);
	rig_deinit(&rig);
}

static void answers_are_checked(void **state)
{
	struct rig rig;
	union request request = { .read = { .request.kind = GS_REQUEST_READ,
					    .address = RAM_PHYS + 3,
					    .length = 10000,
					    .window = 4096 } };
	uint8_t good[512], bad[512];

	(void)state;
	rig_init(&rig);
	memcpy(good, ask(&rig, &request, sizeof(request.read), 1, OWN), sizeof(good));

	struct gs_read_answer *answer = (struct gs_read_answer *)bad;

	memcpy(bad, good, sizeof(bad));
	assert_true(mailbox_check_answer(&rig.header, &answer->answer, sizeof(bad), OWN, 1));
	assert_false(mailbox_check_answer(&rig.header, &answer->answer, sizeof(bad), OTHER, 1));
	assert_false(mailbox_check_answer(&rig.header, &answer->answer, sizeof(bad), OWN, 9));
	assert_false(mailbox_check_answer(&rig.header, &answer->answer, 100, OWN, 1));
	for (uint32_t i = 0; i < answer->answer.size; i++) {
		bad[i] ^= 0x10;
		assert_false(
			mailbox_check_answer(&rig.header, &answer->answer, sizeof(bad), OWN, 1));
		bad[i] ^= 0x10;
	}
	assert_true(mailbox_check_read(&rig.header, &request.read, answer));

	// Whole, but of nonsense.
	uint64_t *const words[] = { &answer->address, &answer->length, &answer->data };
	static const uint64_t values[] = {
		0, 1, 16, 4096, UINT64_MAX, UINT64_MAX - 15, UINT64_C(1) << 63
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		uint64_t was = *words[i];

		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			*words[i] = values[j];
			assert_false(mailbox_check_read(&rig.header, &request.read, answer));
		}
		*words[i] = was;
	}
	answer->page_count--;
	assert_false(mailbox_check_read(&rig.header, &request.read, answer));
	answer->page_count++;
	answer->answer.size -= 8;
	assert_false(mailbox_check_read(&rig.header, &request.read, answer));
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pings_are_answered_in_order),
		cmocka_unit_test(physical_memory_is_read),
		cmocka_unit_test(a_warp_and_a_cpu_make_one_check),
		cmocka_unit_test(data_may_come_late),
		cmocka_unit_test(virtual_memory_is_read),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(lengths_are_clamped_to_the_window),
		cmocka_unit_test(damage_is_waited_for_and_then_refused),
		cmocka_unit_test(what_is_out_of_turn_is_ignored),
		cmocka_unit_test(large_reads_hold_up_nobody),
		cmocka_unit_test(answers_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
