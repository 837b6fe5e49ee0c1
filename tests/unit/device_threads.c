// SPDX-License-Identifier: Apache-2.0
// Many threads of one detector: collectives of which some leave early, records in chunks, and the way of all
// their records into the mailbox. Each thread of the GPU is a pthread.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailbox.h"
#include "mailbox/layout.h"
#include "mailbox/reader.h"
#include "rt.h"

enum { THREADS_MAX = 80, BLOCKS_MAX = 3, OUT_SIZE = 1 << 20 };

struct launch;
typedef void body_fn(struct gs_ctx *ctx, struct launch *launch);

struct thread {
	pthread_t thread;
	struct launch *launch;
	struct gs_ctx ctx;
};

// What a kernel is given, and what a GPU has.
struct launch {
	struct gs_ctx shared;
	struct gs_control control;
	struct gs_map map;
	struct gs_block blocks[BLOCKS_MAX];
	struct thread threads[THREADS_MAX];
	uint64_t out[OUT_SIZE / 8];
	body_fn *body;
	void *arg;
	// Static variables of the detector.
	uint64_t sum, seen[THREADS_MAX];
	uint32_t failures;
};

#define check(launch, condition)                                                      \
	do {                                                                          \
		if (!(condition))                                                     \
			__atomic_fetch_add(&(launch)->failures, 1, __ATOMIC_RELAXED); \
	} while (0)

static struct launch *launch_create(uint32_t threads, uint32_t blocks, body_fn *body)
{
	struct launch *launch = calloc(1, sizeof(*launch));

	assert_non_null(launch);
	assert_true(threads * blocks <= THREADS_MAX && blocks <= BLOCKS_MAX);
	launch->shared.map = (uint64_t)&launch->map;
	launch->shared.out = (uint64_t)launch->out;
	launch->shared.out_size = sizeof(launch->out);
	launch->shared.budget = 1000000;
	launch->shared.threads = threads;
	launch->shared.blocks = blocks;
	launch->body = body;
	for (uint32_t i = 0; i < threads * blocks; i++) {
		launch->threads[i].launch = launch;
		launch->threads[i].ctx.thread_index = i;
		launch->threads[i].ctx.block = (uint64_t)&launch->blocks[i / threads];
	}
	return launch;
}

static void *run_once(void *arg)
{
	struct thread *thread = arg;

	gs_rt_enter(&thread->ctx, &thread->launch->shared);
	thread->launch->body(&thread->ctx, thread->launch);
	gs_rt_leave(&thread->ctx);
	return NULL;
}

static void *run_loop(void *arg)
{
	struct thread *thread = arg;
	struct launch *launch = thread->launch;

	for (uint32_t go;
	     (go = gs_rt_loop_begin(&thread->ctx, &launch->shared, &launch->control));) {
		if (go == GS_LOOP_RUN)
			launch->body(&thread->ctx, launch);
		gs_rt_loop_end(&thread->ctx, &launch->control);
	}
	return NULL;
}

static void start(struct launch *launch, void *(*function)(void *arg))
{
	for (uint32_t i = 0; i < launch->shared.threads * launch->shared.blocks; i++)
		assert_int_equal(pthread_create(&launch->threads[i].thread, NULL, function,
						&launch->threads[i]),
				 0);
}

static void join(struct launch *launch)
{
	for (uint32_t i = 0; i < launch->shared.threads * launch->shared.blocks; i++)
		pthread_join(launch->threads[i].thread, NULL);
	assert_int_equal(launch->failures, 0);
}

static void run(struct launch *launch)
{
	start(launch, run_once);
	join(launch);
}

static void sums_and_others(struct gs_ctx *ctx, struct launch *launch)
{
	uint64_t n = ctx->threads, me = gs_rt_block_thread_index(ctx);

	check(launch, gs_rt_thread_count(ctx) == ctx->threads * ctx->blocks);
	check(launch, gs_rt_block_count(ctx) == ctx->blocks);
	check(launch, gs_rt_thread_index(ctx) == gs_rt_block_index(ctx) * n + me);
	for (uint64_t round = 0; round < 20; round++) {
		check(launch, gs_rt_block_sum(ctx, me + round) == n * (n - 1) / 2 + n * round);
		check(launch, gs_rt_block_min(ctx, me + round) == round);
		check(launch, gs_rt_block_max(ctx, me * 3) == (n - 1) * 3);
		check(launch, gs_rt_block_any(ctx, me == round) == (round < n));
		check(launch, !gs_rt_block_any(ctx, 0));
		gs_rt_block_barrier(ctx);
	}
}

static void all_threads_get_one_value(void **state)
{
	static const uint32_t threads[] = { 1, 2, 5, 32, 33, 64 };

	(void)state;
	for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
		struct launch *launch = launch_create(threads[i], 1, sums_and_others);

		run(launch);
		// The block is as before: a second run finds no traces of the first.
		run(launch);
		free(launch);
	}

	struct launch *launch = launch_create(6, 3, sums_and_others);

	run(launch);
	free(launch);
}

static void statics_behind_barriers(struct gs_ctx *ctx, struct launch *launch)
{
	uint32_t me = gs_rt_block_thread_index(ctx), n = ctx->threads;

	for (uint64_t round = 1; round < 50; round++) {
		launch->seen[me] = round * (me + 1);
		gs_rt_block_barrier(ctx);
		check(launch, launch->seen[(me + 1) % n] == round * ((me + 1) % n + 1));
		gs_rt_block_barrier(ctx);
	}
}

static void barriers_order_memory(void **state)
{
	struct launch *launch = launch_create(8, 1, statics_behind_barriers);

	(void)state;
	run(launch);
	free(launch);
}

// Thread i takes part in i collectives, and is then gone.
static void leave_one_by_one(struct gs_ctx *ctx, struct launch *launch)
{
	uint64_t n = ctx->threads, me = gs_rt_block_thread_index(ctx);

	for (uint64_t round = 0; round < me; round++) {
		uint64_t left = n - 1 - round;

		check(launch, gs_rt_block_sum(ctx, 1) == left);
		check(launch, gs_rt_block_min(ctx, me) == round + 1);
		check(launch, gs_rt_block_max(ctx, n - me) == n - round - 1);
		gs_rt_block_barrier(ctx);
	}
}

// The other way round, so that whole warps leave while others wait, and the leader first.
static void leave_from_the_end(struct gs_ctx *ctx, struct launch *launch)
{
	uint64_t n = ctx->threads, me = gs_rt_block_thread_index(ctx);

	for (uint64_t round = 0; round < n - me; round++)
		check(launch, gs_rt_block_sum(ctx, me) == (n - round) * (n - round - 1) / 2);
}

static void leave_at_once(struct gs_ctx *ctx, struct launch *launch)
{
	if (gs_rt_block_thread_index(ctx) != 3)
		return;
	for (uint64_t round = 0; round < 10; round++)
		check(launch, gs_rt_block_sum(ctx, 7) == 7);
}

static void who_leaves_is_not_waited_for(void **state)
{
	static body_fn *const bodies[] = { leave_one_by_one, leave_from_the_end, leave_at_once };
	static const uint32_t threads[] = { 4, 7, 40, 64 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < sizeof(threads) / sizeof(threads[0]); j++) {
			struct launch *launch = launch_create(threads[j], 1, bodies[i]);

			for (int times = 0; times < 3; times++)
				run(launch);
			free(launch);
		}
	}
}

// Threads end at random, without a collective having anything to do with it.
static void leave_at_random(struct gs_ctx *ctx, struct launch *launch)
{
	unsigned int seed = ctx->thread_index + (unsigned int)launch->sum * 1000;

	while (rand_r(&seed) % 8) {
		uint64_t value = gs_rt_block_sum(ctx, 1);

		check(launch, value >= 1 && value <= ctx->threads);
		check(launch, gs_rt_block_max(ctx, value) <= ctx->threads);
	}
}

static void nothing_hangs(void **state)
{
	struct launch *launch = launch_create(12, 2, leave_at_random);

	(void)state;
	for (launch->sum = 0; launch->sum < 100; launch->sum++)
		run(launch);
	free(launch);
}

// --- records ---

static char text[3000];

// Records of many sizes; the last words of each say whose it is.
static void write_records(struct gs_ctx *ctx, struct launch *launch)
{
	uint64_t count = launch->sum;

	for (uint64_t i = 0; i < count; i++) {
		uint32_t kind = i % 3 ? GS_RECORD_ROW : GS_RECORD_FINDING;

		gs_rt_begin(ctx, kind, kind == GS_RECORD_FINDING, 5, 4);
		gs_rt_arg(ctx, ctx->thread_index);
		gs_rt_arg(ctx, i);
		gs_rt_arg_str_local(ctx, text, i * 37 % (sizeof(text) - 1));
		gs_rt_arg(ctx, ctx->thread_index * 1000 + i);
		gs_rt_end(ctx);
	}
	// Begun and never ended: leaves no trace.
	gs_rt_begin(ctx, GS_RECORD_ROW, 0, 5, 1);
	gs_rt_arg(ctx, 1);
}

static void check_record(const struct gs_record_header *header, uint64_t *next)
{
	const uint64_t *words = (const uint64_t *)(header + 1);
	uint64_t length = words[2] & GS_RECORD_STRING_LEN, thread = words[0], i = words[1];

	assert_true(thread < THREADS_MAX);
	// In the order in which its thread wrote them.
	assert_int_equal(i, next[thread]);
	next[thread]++;
	assert_int_equal(header->format, 5);
	assert_int_equal(header->nargs, 4);
	assert_int_equal(length, i * 37 % (sizeof(text) - 1));
	assert_memory_equal(words + 3, text, length);
	assert_int_equal(header->size, 32 + 32 + (length + 7) / 8 * 8);
	assert_int_equal(words[3 + (length + 7) / 8], thread * 1000 + i);
}

// Walks what the host gets. @return records.
static uint64_t check_chunks(const struct launch *launch, uint64_t *next)
{
	const uint8_t *out = (const uint8_t *)launch->out;
	uint64_t count = 0;

	for (uint32_t at = 0; at < launch->shared.out_used;) {
		const struct gs_chunk *chunk = (const struct gs_chunk *)(out + at);

		assert_true(chunk->size >= sizeof(*chunk) && chunk->size % 8 == 0);
		assert_true(chunk->size <= launch->shared.out_used - at);
		assert_true(chunk->used <= chunk->size - sizeof(*chunk));
		for (uint32_t i = 0; i < chunk->used;) {
			const struct gs_record_header *header =
				(const struct gs_record_header *)(out + at + sizeof(*chunk) + i);

			check_record(header, next);
			i += header->size;
			count++;
		}
		at += chunk->size;
	}
	return count;
}

static void records_stand_in_chunks(void **state)
{
	struct launch *launch = launch_create(8, 2, write_records);
	uint64_t next[THREADS_MAX] = {};

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	launch->sum = 25;
	run(launch);
	assert_int_equal(launch->shared.out_lost, 0);
	assert_int_equal(check_chunks(launch, next), 16 * 25);
	free(launch);
}

static void what_does_not_fit_is_counted(void **state)
{
	static const uint32_t sizes[] = { 0, 8, 40, 300, 4096, 20000, 100004 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct launch *launch = launch_create(4, 1, write_records);
		uint64_t next[THREADS_MAX] = {}, there = 0;

		launch->shared.out_size = sizes[i];
		launch->sum = 60;
		run(launch);
		assert_true(launch->shared.out_used <= sizes[i]);
		// Large ones are lost, and smaller ones behind them may fit.
		for (uint32_t at = 0; at < launch->shared.out_used;) {
			const struct gs_chunk *chunk =
				(const void *)((const uint8_t *)launch->out + at);
			const uint8_t *record = (const uint8_t *)(chunk + 1);

			for (uint32_t j = 0; j < chunk->used; there++) {
				const struct gs_record_header *header = (const void *)(record + j);
				const uint64_t *words = (const uint64_t *)(header + 1);

				assert_true(words[0] < 4 && words[1] >= next[words[0]]);
				next[words[0]] = words[1];
				check_record(header, next);
				j += header->size;
			}
			at += chunk->size;
		}
		assert_int_equal(there + launch->shared.out_lost, 4 * 60);
		assert_true(sizes[i] < 20000 || there);
		free(launch);
	}
}

static void fault_and_stop(struct gs_ctx *ctx, struct launch *launch)
{
	(void)launch;
	gs_rt_load64(ctx, 0x1000 + ctx->thread_index * 8);
	gs_rt_load64(ctx, 0x9000);
	if (ctx->thread_index % 2)
		gs_rt_stop(ctx, GS_STOP_BOUNDS, 40 + ctx->thread_index);
	while (ctx->thread_index == 4 && gs_rt_edge(ctx, 99))
		;
}

static void results_of_all_are_merged(void **state)
{
	struct launch *launch = launch_create(3, 2, fault_and_stop);

	(void)state;
	run(launch);
	assert_int_equal(launch->shared.faults, 12);
	assert_int_equal(launch->shared.fault_address & ~UINT64_C(0xff), 0x1000);
	assert_int_not_equal(launch->shared.stop, GS_STOP_NONE);
	if (launch->shared.stop == GS_STOP_BUDGET)
		assert_int_equal(launch->shared.stop_site, 99);
	else
		assert_int_equal(launch->shared.stop_site % 2, 1);
	// The template is as it was.
	assert_int_equal(launch->shared.budget, 1000000);
	assert_int_equal(launch->shared.out_size, OUT_SIZE);
	free(launch);
}

// --- the loop ---

struct box {
	struct gs_mailbox_header header;
	uint8_t *memory;
	struct mailbox_reader *reader;
	uint64_t next[GS_MAILBOX_RINGS][THREADS_MAX], count[GS_MAILBOX_RINGS];
	// Threads and records come in order.
	uint64_t last[GS_MAILBOX_RINGS];
};

static struct gs_error *read_box(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct box *box = arg;

	memcpy(buf, box->memory + offset, size);
	return NULL;
}

static void box_init(struct box *box, struct launch *launch, uint64_t finding_slots,
		     uint64_t data_slots)
{
	uint64_t slots[] = { finding_slots, data_slots };

	memset(box, 0, sizeof(*box));
	mailbox_layout(&box->header, GS_MAILBOX_CUDA, slots);
	mailbox_seal_header(&box->header);
	box->memory = aligned_alloc(64, box->header.size);
	assert_non_null(box->memory);
	memset(box->memory, 0, box->header.size);
	memcpy(box->memory, &box->header, sizeof(box->header));

	struct gs_mailbox_detector *row =
		(struct gs_mailbox_detector *)(box->memory + box->header.detectors.offset);
	const struct gs_mailbox_formats none = {};

	mailbox_row(row, "sample", 100, launch->shared.threads, launch->shared.blocks, &none);
	mailbox_writer(&launch->control.writer, &box->header, (uint64_t)box->memory,
		       (uint64_t)mailbox_crc32c(), 0, row->generation);
	assert_null(mailbox_reader_create(read_box, box, &box->reader));
}

static void box_deinit(struct box *box)
{
	mailbox_reader_destroy(box->reader);
	free(box->memory);
}

static struct gs_error *see(void *arg, const struct gs_mailbox_entry *entry, const void *data)
{
	struct box *box = arg;
	const struct gs_record_header *header = data;
	const uint64_t *words = (const uint64_t *)(header + 1);
	uint32_t ring = header->kind == GS_RECORD_FINDING ? GS_MAILBOX_FINDINGS : GS_MAILBOX_DATA;
	uint64_t place = words[0] << 32 | words[1];

	assert_int_equal(entry->detector, 0);
	assert_int_equal(header->size, entry->size);
	assert_true(!box->count[ring] || place > box->last[ring]);
	box->last[ring] = place;
	box->count[ring]++;
	// What check_record() expects next is what this ring has of the thread.
	box->next[ring][words[0]] = words[1];
	check_record(header, box->next[ring]);
	return NULL;
}

static void poll_box(struct box *box)
{
	uint64_t count;

	for (int ring = 0; ring < GS_MAILBOX_RINGS; ring++) {
		box->count[ring] = 0;
		assert_null(mailbox_poll(box->reader, ring, see, box, &count));
	}
}

// Tells the loop to stop behind this run: it returns when all have met for the next one.
static void stop_behind(struct gs_ctx *ctx, struct launch *launch)
{
	write_records(ctx, launch);
	if (!ctx->thread_index)
		__atomic_store_n(&launch->control.stop, 1, __ATOMIC_RELAXED);
}

static struct gs_mailbox_detector read_row(struct box *box)
{
	struct gs_mailbox_detector row;

	assert_null(mailbox_read_detector(box->reader, 0, &row));
	return row;
}

static void all_records_are_published(void **state)
{
	static const struct {
		uint32_t threads, blocks;
		// Only the first thread runs, and the others help.
		bool solo;
		uint64_t records;
	} shapes[] = {
		{ 1, 1, false, 12 }, { 6, 1, false, 12 }, { 34, 1, false, 12 }, { 5, 3, false, 12 },
		{ 1, 2, false, 12 }, { 32, 1, true, 12 }, { 32, 1, true, 300 },
	};

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		uint64_t all = shapes[i].solo ? 1 : shapes[i].threads * shapes[i].blocks;
		uint64_t findings = all * shapes[i].records / 3, data = 2 * findings;
		struct launch *launch =
			launch_create(shapes[i].threads, shapes[i].blocks, stop_behind);
		struct box box;

		box_init(&box, launch, 1 << 15, 1 << 16);
		launch->control.solo = shapes[i].solo ? shapes[i].threads : 0;
		launch->sum = shapes[i].records;
		for (uint64_t times = 1; times <= 3; times++) {
			launch->control.stop = 0;
			start(launch, run_loop);
			join(launch);
			poll_box(&box);
			assert_int_equal(box.count[GS_MAILBOX_FINDINGS], findings);
			assert_int_equal(box.count[GS_MAILBOX_DATA], data);

			struct gs_mailbox_detector row = read_row(&box);

			assert_int_equal(row.runs, times);
			assert_int_equal(row.records[GS_MAILBOX_FINDINGS], times * findings);
			assert_int_equal(row.records[GS_MAILBOX_DATA], times * data);
			assert_int_equal(row.lost, 0);
			assert_int_equal(row.state, GS_MAILBOX_STOPPED);
			assert_int_equal(launch->shared.run, times);
			assert_int_equal(launch->control.since_ns, 0);
		}
		assert_int_equal(mailbox_missed(box.reader, 0), 0);
		box_deinit(&box);
		free(launch);
	}
}

// Half a ring takes the first records of a run, without a gap; the others are counted.
static void more_than_half_a_ring_is_lost(void **state)
{
	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (uint64_t slots = 64; slots <= 4096; slots = slots * 3 / 2) {
		struct launch *launch = launch_create(5, 2, stop_behind);
		struct box box;

		box_init(&box, launch, slots, slots);
		launch->sum = 30;
		start(launch, run_loop);
		join(launch);
		poll_box(&box);

		struct gs_mailbox_detector row = read_row(&box);

		for (int ring = 0; ring < GS_MAILBOX_RINGS; ring++)
			assert_int_equal(row.records[ring], box.count[ring]);
		assert_int_equal(row.records[0] + row.records[1] + row.lost, 10 * 30);
		assert_int_equal(mailbox_missed(box.reader, 0), 0);
		box_deinit(&box);
		free(launch);
	}
}

// Of one thread the last records stay, as those of any other writer.
static void one_thread_overwrites_itself(void **state)
{
	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (uint32_t solo = 0; solo <= 32; solo += 32) {
		struct launch *launch = launch_create(solo ? solo : 1, 1, stop_behind);
		struct box box;

		box_init(&box, launch, 64, 128);
		launch->control.solo = solo;
		launch->sum = 60;
		start(launch, run_loop);
		join(launch);
		poll_box(&box);

		struct gs_mailbox_detector row = read_row(&box);

		assert_int_equal(row.records[0] + row.records[1] + row.lost, 60);
		assert_int_equal(box.next[GS_MAILBOX_DATA][0], 60);
		assert_int_equal(
			box.count[0] + box.count[1] + mailbox_missed(box.reader, 0) + row.lost, 60);
		assert_true(mailbox_missed(box.reader, 0) > 0);
		box_deinit(&box);
		free(launch);
	}
}

static void stop_after_runs(struct gs_ctx *ctx, struct launch *launch)
{
	check(launch, ctx->run == launch->shared.run);
	check(launch, launch->control.since_ns == ctx->now_ns);
	if (!ctx->thread_index && ctx->run == 99)
		__atomic_store_n(&launch->control.stop, 1, __ATOMIC_RELAXED);
	check(launch, gs_rt_block_sum(ctx, 1) == ctx->threads);
}

static void loops_keep_step(void **state)
{
	struct launch *launch = launch_create(3, 3, stop_after_runs);
	struct box box;

	(void)state;
	box_init(&box, launch, 64, 64);
	launch->control.budget = 10;
	launch->control.period_ns = 1000;
	start(launch, run_loop);
	join(launch);
	assert_int_equal(launch->shared.run, 100);
	assert_int_equal(read_row(&box).runs, 100);
	// Told to stop before it starts: what the engine does once, to see all of it return.
	start(launch, run_loop);
	join(launch);
	assert_int_equal(read_row(&box).runs, 100);
	box_deinit(&box);
	free(launch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_threads_get_one_value),
		cmocka_unit_test(barriers_order_memory),
		cmocka_unit_test(who_leaves_is_not_waited_for),
		cmocka_unit_test(nothing_hangs),
		cmocka_unit_test(records_stand_in_chunks),
		cmocka_unit_test(what_does_not_fit_is_counted),
		cmocka_unit_test(results_of_all_are_merged),
		cmocka_unit_test(all_records_are_published),
		cmocka_unit_test(more_than_half_a_ring_is_lost),
		cmocka_unit_test(one_thread_overwrites_itself),
		cmocka_unit_test(loops_keep_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
