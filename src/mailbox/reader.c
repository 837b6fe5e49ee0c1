// SPDX-License-Identifier: Apache-2.0
#include "mailbox/reader.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "mailbox/layout.h"
#include "util/cleanup.h"
#include "util/clock.h"

enum {
	// Slots read at a time: the largest entry fits several times.
	CHUNK = 4096,
	// Times that one poll starts over because writers are faster.
	OVERRUNS = 16,
	// Polls that find the same entry unfinished before it is given up: its writer is dead.
	PATIENCE = 64,
};

// What is wrong for longer than this is not just being written. A GPU that several processes share may take a
// writer off in the middle, for some milliseconds.
#define PATIENCE_NS UINT64_C(200000000)

struct ring_state {
	// Slot of the next entry, counted from the start.
	uint64_t tail;
	// The tail need not be the start of an entry: look for one.
	bool lost;
	// Polls that found the entry at the tail unfinished.
	unsigned int waits;
	// Times that entries were lost.
	uint64_t gaps;
	// The next record expected of each detector; UINT64_MAX: whichever comes.
	uint64_t next[GS_MAILBOX_DETECTORS];
};

struct mailbox_reader {
	mailbox_read_fn *read;
	// NULL: all is read at once.
	mailbox_start_fn *start;
	mailbox_finish_fn *finish;
	// NULL: the reader's own.
	mailbox_buffer_fn *make_buffer;
	void *buffer;
	void *arg;
	uint64_t patience_ns;
	struct gs_mailbox_header header;
	struct ring_state rings[GS_MAILBOX_RINGS];
	uint64_t missed[GS_MAILBOX_DETECTORS];
	uint64_t chunk[CHUNK * GS_MAILBOX_SLOT / 8];
};

bool mailbox_wait(const struct mailbox_reader *reader, uint64_t *since)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!*since)
		*since = now;
	if (now - *since >= reader->patience_ns)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	return true;
}

void mailbox_set_patience(struct mailbox_reader *reader, uint64_t ns)
{
	reader->patience_ns = ns;
}

struct gs_error *mailbox_reader_create(mailbox_read_fn *read, void *arg,
				       struct mailbox_reader **ret)
{
	_cleanup_free_ struct mailbox_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return &gs_enomem;
	reader->read = read;
	reader->arg = arg;
	reader->patience_ns = PATIENCE_NS;

	struct gs_error *err = read(arg, 0, &reader->header, sizeof(reader->header));

	if (err)
		return err;
	if (memcmp(reader->header.magic, GS_MAILBOX_MAGIC, sizeof(reader->header.magic)))
		return gs_error_create(GS_ERROR_OTHER,
				       "no mailbox there: it does not begin with its magic");
	if (reader->header.version != GS_MAILBOX_VERSION)
		return gs_error_create(GS_ERROR_OTHER,
				       "the mailbox is of version %" PRIu32
				       ", this program reads version %d",
				       reader->header.version, GS_MAILBOX_VERSION);
	if (!mailbox_check_header(&reader->header))
		return gs_error_create(GS_ERROR_OTHER, "the mailbox's header is damaged");
	*ret = no_cleanup_ptr(reader);
	return NULL;
}

void mailbox_reader_destroy(struct mailbox_reader *reader)
{
	if (reader)
		free(reader->buffer);
	free(reader);
}

const struct gs_mailbox_header *mailbox_reader_header(const struct mailbox_reader *reader)
{
	return &reader->header;
}

void mailbox_reader_set_start(struct mailbox_reader *reader, mailbox_start_fn *start,
			      mailbox_finish_fn *finish, mailbox_buffer_fn *buffer)
{
	reader->start = start;
	reader->finish = finish;
	reader->make_buffer = buffer;
}

static struct gs_error *check_inside(const struct mailbox_reader *reader, uint64_t offset,
				     size_t size)
{
	if (offset > reader->header.size || size > reader->header.size - offset)
		return gs_error_create(GS_ERROR_OTHER, "nothing in the mailbox lies there");
	return NULL;
}

struct gs_error *mailbox_read(struct mailbox_reader *reader, uint64_t offset, void *buf,
			      size_t size)
{
	struct gs_error *err = check_inside(reader, offset, size);

	return err ? err : reader->read(reader->arg, offset, buf, size);
}

struct gs_error *mailbox_start(struct mailbox_reader *reader, uint64_t offset, void *buf,
			       size_t size)
{
	struct gs_error *err = check_inside(reader, offset, size);

	if (err)
		return err;
	return (reader->start ? reader->start : reader->read)(reader->arg, offset, buf, size);
}

struct gs_error *mailbox_finish(struct mailbox_reader *reader)
{
	return reader->finish ? reader->finish(reader->arg) : NULL;
}

struct gs_error *mailbox_buffer(struct mailbox_reader *reader, size_t size, void **ret)
{
	if (reader->make_buffer)
		return reader->make_buffer(reader->arg, size, ret);
	free(reader->buffer);
	reader->buffer = malloc(size);
	*ret = reader->buffer;
	return reader->buffer ? NULL : &gs_enomem;
}

static bool all_zero(const void *structure, size_t size)
{
	const uint8_t *bytes = structure;

	for (size_t i = 0; i < size; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

struct gs_error *mailbox_read_sealed(struct mailbox_reader *reader, const char *what,
				     uint64_t offset, void *structure, size_t size,
				     const uint32_t *crc)
{
	uint64_t since = 0;

	do {
		struct gs_error *err = reader->read(reader->arg, offset, structure, size);

		if (err)
			return err;
		// Never used.
		if (all_zero(structure, size) || *crc == mailbox_crc(structure, size, crc))
			return NULL;
	} while (mailbox_wait(reader, &since));
	return gs_error_create(GS_ERROR_OTHER, "the mailbox's %s is damaged", what);
}

struct gs_error *mailbox_read_heartbeat(struct mailbox_reader *reader,
					struct gs_mailbox_heartbeat *ret)
{
	return mailbox_read_sealed(reader, "heartbeat", reader->header.heartbeat.offset, ret,
				   sizeof(*ret), &ret->crc);
}

struct gs_error *mailbox_read_detector(struct mailbox_reader *reader, uint32_t index,
				       struct gs_mailbox_detector *ret)
{
	if (index >= reader->header.detector_count)
		return gs_error_create(GS_ERROR_USAGE, "the mailbox has no detector number %u",
				       index);

	uint64_t offset = reader->header.detectors.offset + index * sizeof(*ret);
	struct gs_error *err =
		mailbox_read_sealed(reader, "detector table", offset, ret, sizeof(*ret), &ret->crc);

	ret->name[sizeof(ret->name) - 1] = '\0';
	return err;
}

struct gs_error *mailbox_read_detectors(struct mailbox_reader *reader, uint32_t count,
					struct gs_mailbox_detector *rows, uint64_t *fresh_ret)
{
	*fresh_ret = 0;
	if (count > reader->header.detector_count)
		count = reader->header.detector_count;
	if (count > GS_MAILBOX_DETECTORS)
		count = GS_MAILBOX_DETECTORS;
	if (!count)
		return NULL;

	_cleanup_free_ struct gs_mailbox_detector *now = calloc(count, sizeof(*now));
	struct gs_error *err = now ? reader->read(reader->arg, reader->header.detectors.offset, now,
						  count * sizeof(*now))
				   : &gs_enomem;

	for (uint32_t i = 0; i < count && !err; i++) {
		if (!all_zero(&now[i], sizeof(now[i])) &&
		    now[i].crc != mailbox_crc(&now[i], sizeof(now[i]), &now[i].crc))
			continue;
		rows[i] = now[i];
		rows[i].name[sizeof(rows[i].name) - 1] = '\0';
		*fresh_ret |= UINT64_C(1) << i;
	}
	return err;
}

static struct gs_error *read_head(struct mailbox_reader *reader, uint32_t ring, uint64_t *ret)
{
	return reader->read(reader->arg,
			    reader->header.rings[ring].offset +
				    offsetof(struct gs_mailbox_ring, head),
			    ret, sizeof(*ret));
}

// What lies before was never in this mailbox.
static struct gs_error *read_first(struct mailbox_reader *reader, uint32_t ring, uint64_t head,
				   uint64_t *ret)
{
	*ret = 0;
	if (!reader->header.epoch)
		return NULL;

	struct gs_error *err = reader->read(reader->arg,
					    reader->header.rings[ring].offset +
						    offsetof(struct gs_mailbox_ring, first),
					    ret, sizeof(*ret));

	if (*ret > head)
		*ret = 0;
	return err;
}

// Slots from @from on, @count of them, into the chunk.
static struct gs_error *read_slots(struct mailbox_reader *reader, uint32_t ring, uint64_t from,
				   uint64_t count)
{
	const struct gs_mailbox_area *area = &reader->header.rings[ring];
	uint64_t slots = mailbox_ring_slots(area), at = from % slots;
	uint64_t base = area->offset + sizeof(struct gs_mailbox_ring);
	uint64_t first = count < slots - at ? count : slots - at;
	struct gs_error *err = reader->read(reader->arg, base + at * GS_MAILBOX_SLOT, reader->chunk,
					    first * GS_MAILBOX_SLOT);

	if (err || first == count)
		return err;
	return reader->read(reader->arg, base, reader->chunk + first * (GS_MAILBOX_SLOT / 8),
			    (count - first) * GS_MAILBOX_SLOT);
}

static bool entry_ok(const struct mailbox_reader *reader, const struct gs_mailbox_entry *entry,
		     uint64_t position, uint64_t slots_left)
{
	if (entry->commit != position + 1 || entry->size % 8 ||
	    entry->size < sizeof(struct gs_record_header) || entry->size > GS_RECORD_MAX_SIZE ||
	    gs_mailbox_entry_slots(entry->size) > slots_left ||
	    entry->detector >= reader->header.detector_count)
		return false;

	const struct gs_crc32c *table = mailbox_crc32c();
	const uint64_t *words = (const uint64_t *)entry;
	uint64_t count = (sizeof(*entry) + entry->size) / 8;
	uint32_t crc = gs_mailbox_seed(&reader->header);

	for (uint64_t i = 0; i < count; i++)
		crc = gs_crc32c_word(table, crc, i == 1 ? entry->size : words[i]);
	return gs_crc32c_finish(crc) == entry->crc;
}

static struct gs_error *deliver(struct mailbox_reader *reader, struct ring_state *state,
				const struct gs_mailbox_entry *entry, mailbox_entry_fn *fn,
				void *arg)
{
	uint64_t *next = &state->next[entry->detector];

	// A sequence that goes back is damage, not loss.
	if (entry->sequence > *next)
		reader->missed[entry->detector] += entry->sequence - *next;
	*next = entry->sequence + 1;
	return fn(arg, entry, entry + 1);
}

// What the chunk of @count slots at the tail holds. Moves the tail; leaves it where more is needed.
static struct gs_error *take_chunk(struct mailbox_reader *reader, struct ring_state *state,
				   uint64_t count, mailbox_entry_fn *fn, void *arg,
				   uint64_t *count_ret)
{
	for (uint64_t at = 0; at < count;) {
		const struct gs_mailbox_entry *entry =
			(const void *)(reader->chunk + at * (GS_MAILBOX_SLOT / 8));

		if (entry_ok(reader, entry, state->tail, count - at)) {
			uint64_t size = gs_mailbox_entry_slots(entry->size);

			state->lost = false;
			state->waits = 0;
			state->tail += size;
			at += size;
			++*count_ret;

			struct gs_error *err = deliver(reader, state, entry, fn, arg);

			if (err)
				return err;
			continue;
		}
		// It may go on behind the chunk: the next one begins with it.
		if (entry->commit == state->tail + 1 && at &&
		    gs_mailbox_entry_slots(entry->size) > count - at &&
		    entry->size <= GS_RECORD_MAX_SIZE)
			return NULL;
		if (!state->lost)
			return NULL;
		state->tail++;
		at++;
	}
	return NULL;
}

// The writers are a whole ring ahead, or have never been here: what was at the tail is gone.
static void catch_up(struct ring_state *state, uint64_t head, uint64_t slots)
{
	if (head >= state->tail && head - state->tail <= slots)
		return;
	// A head that went back is damage: go on from there.
	state->tail = head < state->tail ? head : head - slots;
	state->lost = true;
	state->waits = 0;
	state->gaps++;
}

static void start_at(struct ring_state *state, uint64_t position, bool entry)
{
	state->tail = position;
	state->lost = !entry;
	state->waits = 0;
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++)
		state->next[i] = UINT64_MAX;
}

struct gs_error *mailbox_skip(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring)
{
	uint64_t head;
	struct gs_error *err = read_head(reader, ring, &head);

	if (!err)
		start_at(&reader->rings[ring], head, true);
	return err;
}

void mailbox_seek(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring, uint64_t position)
{
	start_at(&reader->rings[ring], position, false);
}

uint64_t mailbox_gaps(const struct mailbox_reader *reader, enum gs_mailbox_ring_index ring)
{
	return reader->rings[ring].gaps;
}

struct gs_error *mailbox_poll(struct mailbox_reader *reader, enum gs_mailbox_ring_index ring,
			      mailbox_entry_fn *fn, void *arg, uint64_t *count_ret)
{
	struct ring_state *state = &reader->rings[ring];
	uint64_t slots = mailbox_ring_slots(&reader->header.rings[ring]);
	unsigned int overruns = 0;
	uint64_t head, first = 0;
	struct gs_error *err = read_head(reader, ring, &head);

	*count_ret = 0;
	if (!err && state->tail < head)
		err = read_first(reader, ring, head, &first);
	if (err)
		return err;
	if (state->tail < first) {
		// Who has just come has missed nothing; who was there before has.
		state->gaps += state->tail != 0;
		start_at(state, first, true);
	}
	// Writers that never pause must not hold the caller: what was there at the start, and no more.
	catch_up(state, head, slots);
	while (state->tail != head && overruns < OVERRUNS) {
		uint64_t count = head - state->tail < CHUNK ? head - state->tail : CHUNK;
		uint64_t tail = state->tail;

		err = read_slots(reader, ring, tail, count);
		if (!err)
			err = take_chunk(reader, state, count, fn, arg, count_ret);
		if (err)
			return err;

		if (state->tail != tail)
			continue;

		uint64_t now;

		err = read_head(reader, ring, &now);
		if (err)
			return err;
		if (now < tail || now - tail > slots) {
			// Overwritten while it was read.
			catch_up(state, now, slots);
			head = now;
			overruns++;
			continue;
		}
		// Still being written, as a rule.
		if (++state->waits < PATIENCE)
			return NULL;
		state->lost = true;
		state->waits = 0;
		state->gaps++;
	}
	return NULL;
}

uint64_t mailbox_missed(const struct mailbox_reader *reader, uint32_t detector)
{
	return detector < GS_MAILBOX_DETECTORS ? reader->missed[detector] : 0;
}
