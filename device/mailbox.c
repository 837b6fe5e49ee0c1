// SPDX-License-Identifier: Apache-2.0
// Writers of the mailbox. A row of the detector table has one writer, a ring has many: each takes the slots
// for all of its records with one atomic addition, fills them, and commits them last.
#include "mailbox.h"
#include "metric.h"
#include "words.h"

// Seals a structure whose CRC is the upper half of word @at.
static void seal(const struct gs_crc32c *crc32c, void *structure, uint32_t words, uint32_t at)
{
	gs_word *word = structure;
	uint32_t crc = GS_CRC32C_START;

	word[at] = (uint32_t)word[at];
	for (uint32_t i = 0; i < words; i++)
		crc = gs_crc32c_word(crc32c, crc, word[i]);
	gs_put(&word[at], (uint32_t)word[at] | (uint64_t)gs_crc32c_finish(crc) << 32);
	gs_order();
}

static void seal_row(const struct gs_mailbox_writer *writer)
{
	seal((const struct gs_crc32c *)writer->crc32c, (void *)writer->entry,
	     gs_words_of(struct gs_mailbox_detector),
	     __builtin_offsetof(struct gs_mailbox_detector, pad) / 8);
}

static inline gs_word *slot_word(const struct gs_ring_view *ring, uint64_t word)
{
	// An entry is shorter than the ring: one step back is enough.
	uint64_t words = ring->slots * (GS_MAILBOX_SLOT / 8);

	return (gs_word *)(ring->address + sizeof(struct gs_mailbox_ring)) +
	       (word < words ? word : word - words);
}

static void enter_chunk(struct gs_mailbox_cursor *cursor, uint64_t address)
{
	const struct gs_chunk *chunk = (const struct gs_chunk *)address;

	cursor->at = address + sizeof(*chunk);
	cursor->end = cursor->at + chunk->used;
	cursor->next = --cursor->chunks ? chunk->next : 0;
}

struct gs_mailbox_cursor gs_mailbox_first(const struct gs_ctx *ctx)
{
	struct gs_mailbox_cursor cursor = { .out = ctx->out, .left = UINT32_MAX };

	if (ctx->first_chunk) {
		cursor.out = ((const struct gs_ctx *)ctx->shared)->out;
		cursor.chunks = ctx->chunks;
		enter_chunk(&cursor, ctx->first_chunk);
	} else {
		cursor.at = ctx->out;
		cursor.end =
			ctx->out + (ctx->out_used < ctx->out_size ? ctx->out_used : ctx->out_size);
	}
	return cursor;
}

// NULL: that was the last.
static const struct gs_record_header *next_record(struct gs_mailbox_cursor *cursor)
{
	if (!cursor->left)
		return 0;
	while (cursor->end - cursor->at < sizeof(struct gs_record_header)) {
		if (!cursor->next)
			return 0;
		enter_chunk(cursor, cursor->out + cursor->next);
	}

	const struct gs_record_header *record = (const struct gs_record_header *)cursor->at;

	if (record->size < sizeof(*record) || record->size > cursor->end - cursor->at ||
	    record->size % 8)
		return 0;
	cursor->at += record->size;
	cursor->left--;
	return record;
}

// 0: larger than the ring takes. Half the ring at most, or one record could push out all that a reader is
// about to read.
static uint64_t slots_for(const struct gs_mailbox_writer *writer,
			  const struct gs_record_header *record, uint32_t *ring_ret)
{
	uint64_t count = gs_mailbox_entry_slots(record->size);
	bool finding = record->kind == GS_RECORD_FINDING || record->kind == GS_RECORD_ALARM;
	uint32_t ring = finding ? GS_MAILBOX_FINDINGS : GS_MAILBOX_DATA;

	*ring_ret = ring;
	return record->size <= GS_RECORD_MAX_SIZE && count <= writer->rings[ring].slots / 2 ? count
											    : 0;
}

// Add up what records take until one goes beyond a limit; that one is then the next.
static __attribute__((noinline)) bool add_up(const struct gs_mailbox_writer *writer,
					     struct gs_mailbox_cursor *cursor,
					     const uint64_t limits[GS_MAILBOX_RINGS],
					     struct gs_mailbox_share *share, uint64_t *lost)
{
	for (;;) {
		struct gs_mailbox_cursor before = *cursor;
		const struct gs_record_header *record = next_record(cursor);
		uint32_t ring;

		if (!record)
			return true;

		uint64_t count = slots_for(writer, record, &ring);

		*lost += !count;
		if (!count)
			continue;
		if (share->slots[ring] + count > limits[ring]) {
			*cursor = before;
			return false;
		}
		share->slots[ring] += count;
		share->records[ring]++;
	}
}

uint64_t gs_mailbox_count(const struct gs_mailbox_writer *writer,
			  const struct gs_mailbox_cursor *from, struct gs_mailbox_share *share)
{
	struct gs_mailbox_cursor cursor = *from;
	uint64_t limits[GS_MAILBOX_RINGS] = { UINT64_MAX, UINT64_MAX }, lost = 0;

	add_up(writer, &cursor, limits, share, &lost);
	return lost;
}

bool gs_mailbox_fit(const struct gs_mailbox_writer *writer, const struct gs_mailbox_cursor *from,
		    uint32_t ring, uint64_t slots, struct gs_mailbox_share *share)
{
	struct gs_mailbox_cursor cursor = *from;
	uint64_t limits[GS_MAILBOX_RINGS] = { UINT64_MAX, UINT64_MAX }, lost = 0;

	limits[ring] = slots;
	return add_up(writer, &cursor, limits, share, &lost);
}

uint64_t gs_mailbox_reserve(const struct gs_mailbox_writer *writer, uint32_t ring, uint64_t slots)
{
	struct gs_mailbox_ring *to = (struct gs_mailbox_ring *)writer->rings[ring].address;

	return slots ? __atomic_fetch_add(&to->head, slots, __ATOMIC_RELAXED) : 0;
}

// All of an entry but its commit.
static void fill_entry(const struct gs_mailbox_writer *writer, const struct gs_ring_view *ring,
		       const struct gs_record_header *record, uint64_t position, uint64_t sequence)
{
	const struct gs_crc32c *crc32c = (const struct gs_crc32c *)writer->crc32c;
	const gs_word *from = (const gs_word *)record;
	uint64_t at = position % ring->slots * (GS_MAILBOX_SLOT / 8);
	uint64_t header[gs_words_of(struct gs_mailbox_entry)] = {
		position + 1,
		record->size,
		(uint64_t)writer->generation << 32 | writer->detector,
		sequence,
	};
	uint32_t crc = writer->seed;

	for (uint32_t i = 0; i < gs_words_of(struct gs_mailbox_entry); i++)
		crc = gs_crc32c_word(crc32c, crc, header[i]);
	for (uint32_t i = 0; i < record->size / 8; i++) {
		uint64_t word = from[i];

		crc = gs_crc32c_word(crc32c, crc, word);
		gs_put(slot_word(ring, at + gs_words_of(struct gs_mailbox_entry) + i), word);
	}
	gs_put(slot_word(ring, at + 1), header[1] | (uint64_t)gs_crc32c_finish(crc) << 32);
	gs_put(slot_word(ring, at + 2), header[2]);
	gs_put(slot_word(ring, at + 3), header[3]);
}

enum step { INVALIDATE, FILL, COMMIT };

static __attribute__((noinline)) void step(const struct gs_mailbox_writer *writer,
					   struct gs_mailbox_cursor cursor,
					   const struct gs_mailbox_place from[GS_MAILBOX_RINGS],
					   enum step step)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	struct gs_mailbox_place places[GS_MAILBOX_RINGS] = { from[0], from[1] };
	const struct gs_record_header *record;

	while ((record = next_record(&cursor))) {
		uint32_t index;
		uint64_t count = slots_for(writer, record, &index);
		const struct gs_ring_view *ring = &writer->rings[index];
		struct gs_mailbox_place *place = &places[index];

		if (!count)
			continue;
		if (count > place->slots) {
			place->slots = 0;
			continue;
		}
		if (step == FILL && record->kind == GS_RECORD_METRIC &&
		    !gs_metric_keep(writer, record))
			__atomic_fetch_add(&row->metrics_lost, 1, __ATOMIC_RELAXED);
		if (step == FILL)
			fill_entry(writer, ring, record, place->position, place->sequence);
		else
			gs_put(slot_word(ring,
					 place->position % ring->slots * (GS_MAILBOX_SLOT / 8)),
			       step == COMMIT ? place->position + 1 : 0);
		place->position += count;
		place->slots -= count;
		place->sequence++;
	}
}

// Fences are what takes time here: one between two steps, however many records there are.
void gs_mailbox_fill(const struct gs_mailbox_writer *writer, const struct gs_mailbox_cursor *from,
		     const struct gs_mailbox_place places[GS_MAILBOX_RINGS])
{
	// Who comes upon an entry from now on sees that it is being written.
	step(writer, *from, places, INVALIDATE);
	gs_order();
	step(writer, *from, places, FILL);
	gs_order();
	step(writer, *from, places, COMMIT);
}

// Of one thread, which takes the slots for @share and counts the records in the row.
static void write_batch(const struct gs_mailbox_writer *writer,
			const struct gs_mailbox_cursor *from, const struct gs_mailbox_share *share)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	struct gs_mailbox_place places[GS_MAILBOX_RINGS];

	for (uint32_t i = 0; i < GS_MAILBOX_RINGS; i++) {
		places[i] = (struct gs_mailbox_place){
			.position = gs_mailbox_reserve(writer, i, share->slots[i]),
			.sequence = row->records[i],
			.slots = share->slots[i],
		};
	}
	gs_mailbox_fill(writer, from, places);
	for (uint32_t i = 0; i < GS_MAILBOX_RINGS; i++)
		row->records[i] += share->records[i];
}

// @return records that are larger than a ring takes.
static uint64_t write_all(const struct gs_mailbox_writer *writer, struct gs_mailbox_cursor cursor)
{
	uint64_t limits[GS_MAILBOX_RINGS], lost = 0;
	bool all;

	for (uint32_t i = 0; i < GS_MAILBOX_RINGS; i++)
		limits[i] = writer->rings[i].slots / 2;
	do {
		struct gs_mailbox_cursor batch = cursor;
		struct gs_mailbox_share share = {};

		all = add_up(writer, &cursor, limits, &share, &lost);
		batch.left -= cursor.left;
		if (share.slots[GS_MAILBOX_FINDINGS] + share.slots[GS_MAILBOX_DATA])
			write_batch(writer, &batch, &share);
	} while (!all);
	return lost;
}

bool gs_mailbox_write(const struct gs_mailbox_writer *writer, const struct gs_record_header *record)
{
	return record->size % 8 == 0 &&
	       !write_all(writer, (struct gs_mailbox_cursor){
					  .at = (uint64_t)record,
					  .end = (uint64_t)record + record->size,
					  .left = 1,
				  });
}

uint64_t gs_mailbox_publish(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx)
{
	return write_all(writer, gs_mailbox_first(ctx));
}

void gs_mailbox_set_state(const struct gs_mailbox_writer *writer, enum gs_mailbox_state state)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;

	row->state = state;
	seal_row(writer);
}

void gs_mailbox_run_begin(const struct gs_mailbox_writer *writer, uint64_t now_ns)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;

	row->last_start_ns = now_ns;
	gs_mailbox_set_state(writer, GS_MAILBOX_RUNNING);
}

void gs_mailbox_run_end(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx,
			uint64_t lost, uint64_t now_ns)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	uint64_t took_ns = now_ns - row->last_start_ns;

	row->lost += ctx->out_lost + lost;
	row->runs++;
	row->last_ns = took_ns;
	if (took_ns > row->max_ns)
		row->max_ns = took_ns;
	if (ctx->faults && !row->faults)
		row->fault_address = ctx->fault_address;
	row->faults += ctx->faults;
	row->walks += ctx->walks;
	row->stopped_budget += ctx->stop == GS_STOP_BUDGET;
	row->stopped_bounds += ctx->stop == GS_STOP_BOUNDS;
	row->stopped_trap += ctx->stop == GS_STOP_TRAP;
	if (ctx->stop != GS_STOP_NONE) {
		row->stop = ctx->stop;
		row->stop_site = ctx->stop_site;
	}
	gs_mailbox_set_state(writer, GS_MAILBOX_WAITING);
}

void gs_supervisor_beat(const struct gs_supervisor *supervisor, uint64_t now_ns,
			enum gs_mailbox_state state)
{
	struct gs_mailbox_heartbeat *beat = (struct gs_mailbox_heartbeat *)supervisor->heartbeat;
	uint64_t launched = 0, stalled = 0;

	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		uint64_t address = *(const volatile uint64_t *)&supervisor->controls[i];

		if (!address)
			continue;

		uint64_t since = ((const volatile struct gs_control *)address)->since_ns;

		launched |= UINT64_C(1) << i;
		if (since && now_ns > since && now_ns - since > supervisor->stall_ns[i])
			stalled |= UINT64_C(1) << i;
	}
	beat->counter++;
	beat->time_ns = now_ns;
	if (!beat->start_ns)
		beat->start_ns = now_ns;
	beat->period_ns = supervisor->period_ns;
	beat->launched = launched;
	beat->stalled = stalled;
	beat->state = state;
	seal((const struct gs_crc32c *)supervisor->crc32c, beat,
	     gs_words_of(struct gs_mailbox_heartbeat),
	     __builtin_offsetof(struct gs_mailbox_heartbeat, state) / 8);
}
