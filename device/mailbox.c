// SPDX-License-Identifier: Apache-2.0
// Writers of the mailbox. A row of the detector table has one writer, a ring has many: each takes its
// slots with one atomic addition, fills them, and commits them last.
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

bool gs_mailbox_write(const struct gs_mailbox_writer *writer, const struct gs_record_header *record)
{
	const struct gs_crc32c *crc32c = (const struct gs_crc32c *)writer->crc32c;
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	uint32_t index = record->kind == GS_RECORD_FINDING ? GS_MAILBOX_FINDINGS : GS_MAILBOX_DATA;
	const struct gs_ring_view *ring = &writer->rings[index];
	uint64_t count = gs_mailbox_entry_slots(record->size);

	// Half the ring at most, or one record could push out all that a reader is about to read.
	if (record->size % 8 || record->size > GS_RECORD_MAX_SIZE || count > ring->slots / 2)
		return false;

	uint64_t position = __atomic_fetch_add(&((struct gs_mailbox_ring *)ring->address)->head,
					       count, __ATOMIC_RELAXED);
	uint64_t at = position % ring->slots * (GS_MAILBOX_SLOT / 8);
	const gs_word *from = (const gs_word *)record;
	uint64_t header[gs_words_of(struct gs_mailbox_entry)] = {
		position + 1,
		record->size,
		(uint64_t)writer->generation << 32 | writer->detector,
		row->records[index],
	};
	uint32_t crc = writer->seed;

	// Who comes upon it from now on sees that it is being written.
	gs_put(slot_word(ring, at), 0);
	gs_order();
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
	gs_order();
	gs_put(slot_word(ring, at), header[0]);
	row->records[index]++;
	if (record->kind == GS_RECORD_METRIC && !gs_metric_keep(writer, record))
		row->metrics_lost++;
	return true;
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

// @return records that the ring does not take.
static uint64_t write_records(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx)
{
	uint32_t used = ctx->out_used < ctx->out_size ? ctx->out_used : ctx->out_size;
	uint64_t lost = 0;

	for (uint32_t at = 0; used - at >= sizeof(struct gs_record_header);) {
		const struct gs_record_header *record =
			(const struct gs_record_header *)(ctx->out + at);

		if (record->size < sizeof(*record) || record->size > used - at || record->size % 8)
			break;
		lost += !gs_mailbox_write(writer, record);
		at += record->size;
	}
	return lost;
}

void gs_mailbox_run_end(const struct gs_mailbox_writer *writer, const struct gs_ctx *ctx,
			uint64_t now_ns)
{
	struct gs_mailbox_detector *row = (struct gs_mailbox_detector *)writer->entry;
	uint64_t took_ns = now_ns - row->last_start_ns;

	row->lost += ctx->out_lost + write_records(writer, ctx);
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
