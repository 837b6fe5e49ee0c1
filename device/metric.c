// SPDX-License-Identifier: Apache-2.0
// A hash table that only grows: entries are claimed by their key, with a bounded number of tries.
//
// A key has one detector's threads as its writers. Those of an earlier generation of the same row are dead, so what
// they left is taken over.
#include "metric.h"
#include "words.h"

// An area that is nearly full is not searched from end to end for every record.
#define PROBES 32

// Seeded: labels can hold text of the watched machine, which must not choose its place.
static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

static uint64_t key_of(const struct gs_mailbox_writer *writer,
		       const struct gs_record_header *record, const gs_word *labels, uint32_t words)
{
	uint64_t hash = mix(writer->seed, (uint64_t)writer->detector << 32 | writer->generation);

	hash = mix(hash, (uint64_t)record->format << 32 | words);
	for (uint32_t i = 0; i < words; i++)
		hash = mix(hash, labels[i]);
	return hash ? hash : 1;
}

static bool claim(struct gs_mailbox_metric *entry, uint64_t was, uint64_t key)
{
	uint64_t expected = was;

	return __atomic_compare_exchange_n(&entry->key, &expected, key, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED) ||
	       expected == key;
}

static struct gs_mailbox_metric *find(const struct gs_mailbox_writer *writer, uint64_t key)
{
	struct gs_mailbox_metric *entries = (struct gs_mailbox_metric *)writer->metrics;
	uint32_t count = writer->metric_count;
	uint32_t at = count ? (uint32_t)((key >> 32) % count) : 0;
	struct gs_mailbox_metric *stale = 0;
	uint64_t stale_key = 0;

	for (uint32_t i = 0; i < PROBES && i < count; i++) {
		struct gs_mailbox_metric *entry = &entries[at];
		uint64_t found = gs_get(&entry->key);

		if (found == key)
			return entry;
		if (!found && stale)
			break;
		if (!found && claim(entry, 0, key))
			return entry;
		// Sealed or not, only this row's writers ever wrote its number there.
		if (found && !stale && entry->detector == writer->detector && entry->generation &&
		    entry->generation != writer->generation) {
			stale = entry;
			stale_key = found;
		}
		at = at + 1 < count ? at + 1 : 0;
	}
	return stale && claim(stale, stale_key, key) ? stale : 0;
}

static void fill(const struct gs_mailbox_writer *writer, struct gs_mailbox_metric *entry,
		 const struct gs_record_header *record, const gs_word *items, uint32_t labels)
{
	enum {
		FIRST = __builtin_offsetof(struct gs_mailbox_metric, value) / 8,
		COUNT = gs_words_of(struct gs_mailbox_metric) - FIRST,
		LABELS = __builtin_offsetof(struct gs_mailbox_metric, labels) / 8 - FIRST,
	};
	gs_word *to = (gs_word *)entry + FIRST;
	uint64_t words[COUNT] = {
		items[0],
		record->time_ns,
		(uint64_t)writer->generation << 32 | writer->detector,
		(uint64_t)labels * 8 << 32 | record->format,
	};

	for (uint32_t i = 0; i < GS_MAILBOX_LABELS; i++)
		words[LABELS + i] = i < labels ? items[1 + i] : 0;

	uint32_t crc = gs_crc_sealed((const struct gs_crc32c *)writer->crc32c, writer->seed, words,
				     COUNT, COUNT - 1);

	words[COUNT - 1] = (uint64_t)crc << 32;
	for (uint32_t i = 0; i < COUNT; i++)
		gs_put(to + i, words[i]);
}

bool gs_metric_keep(const struct gs_mailbox_writer *writer, const struct gs_record_header *record)
{
	const gs_word *items = (const gs_word *)(record + 1);
	uint32_t words = record->size / 8;

	if (words < gs_words_of(struct gs_record_header) + 1)
		return false;
	words -= (uint32_t)gs_words_of(struct gs_record_header) + 1;
	if (words > GS_MAILBOX_LABELS)
		return false;

	struct gs_mailbox_metric *entry = find(writer, key_of(writer, record, items + 1, words));

	if (!entry)
		return false;
	// Another thread of the detector has a value of the same run in hand.
	if (__atomic_exchange_n(&entry->busy, 1, __ATOMIC_RELAXED))
		return true;
	gs_order();
	fill(writer, entry, record, items, words);
	gs_order();
	gs_put(&entry->busy, 0);
	return true;
}
