/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Amounts of memory over time, of all that may leak, and whether they rise.
 */
#ifndef LEAKS_SERIES_H
#define LEAKS_SERIES_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// Samples of a window, and how many of them make a trend.
#define SAMPLES 16U
#define SAMPLES_MIN 10U

// Each amount is kept for two windows: what leaks fast must be found before memory is gone, and what leaks slowly is
// seen in a long time only.
enum window {
	WINDOW_FAST,
	WINDOW_SLOW,
	WINDOWS,
};

enum kind {
	KIND_NONE,
	// Slabs of a cache; id is the struct kmem_cache.
	KIND_CACHE,
	// Resident memory of a process; id is the struct task_struct.
	KIND_PROCESS,
	// Pages from vmalloc() by who asked for them; id is an address of code.
	KIND_CALLER,
	// One each of the whole system.
	KIND_PAGETABLES,
	KIND_STACKS,
	KIND_SHMEM,
	KIND_PERCPU,
	KIND_UNACCOUNTED,
	// MemTotal and swap, without what is still to be had.
	KIND_USED,
};

struct series {
	u64 id;
	// Tells a process from an earlier one at the same address.
	u64 birth;
	enum kind kind;
	// The last round in which it was sampled.
	u32 round;
	u32 count[WINDOWS];
	// KiB; the newest is at the window's position.
	u32 kb[WINDOWS][SAMPLES];
};

// What a series did in a window.
struct trend {
	u64 kb, grown_kb, ms;
};

#define SERIES_MAX 4096U
// Places that are looked at for one that is free.
#define SERIES_PROBES 16U

static struct series series[SERIES_MAX];
// A bit for each that is in use.
static u64 series_used[SERIES_MAX / 64];
// Of the window, by the kernel's clock: a system that stands still has no samples.
static s64 sampled_at[WINDOWS][SAMPLES];
static u32 position[WINDOWS];
// The windows for which this round takes a sample.
static bool due[WINDOWS];
static u32 series_round;
// How many have had no place in this round.
static u32 series_left_out;

// A new round of samples; false if it is too early for one.
static bool series_begin(s64 now_ns, const u64 *window_ms)
{
	static bool begun;

	for (u32 w = 0; w < WINDOWS; w++) {
		u64 passed = (u64)(now_ns - sampled_at[w][position[w]]);

		due[w] = !begun || passed >= window_ms[w] * 1000000 / (SAMPLES - 1);
	}
	if (!due[WINDOW_FAST])
		return false;
	for (u32 w = 0; w < WINDOWS; w++) {
		if (!due[w])
			continue;
		position[w] = (position[w] + 1) % SAMPLES;
		sampled_at[w][position[w]] = now_ns;
	}
	begun = true;
	series_round++;
	series_left_out = 0;
	return true;
}

static u32 series_hash(enum kind kind, u64 id)
{
	return ((id >> 4 ^ (u64)kind << 40) * 0x9e3779b97f4a7c15ULL) >> 40;
}

// What has not been sampled in the last round has gone.
static bool series_is_live(const struct series *s)
{
	return s->kind != KIND_NONE && s->round + 1 >= series_round;
}

// Its place, a new one if it has none; SERIES_MAX: there is none left.
static u32 series_find(enum kind kind, u64 id, u64 birth)
{
	u32 hash = series_hash(kind, id), free = SERIES_MAX;

	for (u32 i = 0; i < SERIES_PROBES; i++) {
		u32 at = (hash + i) % SERIES_MAX;
		const struct series *s = &series[at];

		if (!series_is_live(s))
			free = free < SERIES_MAX ? free : at;
		else if (s->kind == kind && s->id == id && s->birth == birth)
			return at;
	}
	if (free < SERIES_MAX) {
		series[free] = (struct series){ .kind = kind, .id = id, .birth = birth };
		series_used[free / 64] |= 1ULL << (free % 64);
	}
	return free;
}

// Every series, @at its place. A few hundred of thousands are in use as a rule, and memory of a GPU is slow.
#define for_each_series(at)                                                        \
	for (u32 __word = 0; __word < SERIES_MAX / 64; __word++)                   \
		for (u64 __bits = series_used[__word];                             \
		     __bits && (at = __word * 64 + __builtin_ctzll(__bits), true); \
		     __bits &= __bits - 1)

static void series_forget(u32 at)
{
	series[at].kind = KIND_NONE;
	series_used[at / 64] &= ~(1ULL << (at % 64));
}

static void series_add(enum kind kind, u64 id, u64 birth, u64 pages)
{
	u32 at = series_find(kind, id, birth);

	if (at >= SERIES_MAX) {
		series_left_out++;
		return;
	}
	series[at].round = series_round;
	for (u32 w = 0; w < WINDOWS; w++) {
		// The first sample of a window that is between two of them stands for the one before.
		if (!due[w] && series[at].count[w])
			continue;
		series[at].kb[w][position[w]] = min(pages << (PAGE_SHIFT - 10), (u64)~0U);
		series[at].count[w] = min(series[at].count[w] + 1, SAMPLES);
	}
}

// Whether it rises: the test of Mann and Kendall, which takes no notice of how much. Of all pairs of samples those
// that rose, less those that fell, must be @percent of all. One step up, however high, is a little over half of them.
static bool series_rises(const u32 *kb, u32 count, u64 percent)
{
	s32 score = 0, pairs = (s32)(count * (count - 1) / 2);

	for (u32 i = 0; i < count; i++) {
		for (u32 j = i + 1; j < count; j++)
			score += kb[j] > kb[i] ? 1 : kb[j] < kb[i] ? -1 : 0;
	}
	return score * 100 >= pairs * (s32)min(percent, (u64)100);
}

// KiB that a series has grown in a window, steadily or not; all of it if it began after the window's first @samples.
static u64 series_grown(const struct series *s, enum window w, u32 samples)
{
	u32 count = s->count[w], newest = s->kb[w][position[w]];
	u32 oldest = s->kb[w][(position[w] + SAMPLES + 1 - count) % SAMPLES];

	if (s->round != series_round || !count)
		return 0;
	if (count < samples)
		return newest;
	return newest > oldest ? newest - oldest : 0;
}

// True if a series has grown in a window by @least_kb, and by a tenth, and rises and goes on to do so.
static bool series_trend(const struct series *s, enum window w, u64 least_kb, u64 percent,
			 struct trend *ret)
{
	u32 count = s->count[w], kb[SAMPLES];

	if (s->round != series_round || count < SAMPLES_MIN)
		return false;

	u32 first = (position[w] + SAMPLES + 1 - count) % SAMPLES;
	u32 oldest = s->kb[w][first], newest = s->kb[w][position[w]];
	u32 before = s->kb[w][(position[w] + SAMPLES - 3) % SAMPLES];

	// Almost all end here.
	if (newest < oldest + least_kb || newest - oldest < oldest / 10 || newest <= before)
		return false;
	for (u32 i = 0; i < count; i++)
		kb[i] = s->kb[w][(first + i) % SAMPLES];
	if (!series_rises(kb, count, percent))
		return false;
	ret->kb = newest;
	ret->grown_kb = newest - oldest;
	ret->ms = (u64)(sampled_at[w][position[w]] - sampled_at[w][first]) / 1000000;
	return ret->ms > 0;
}

// Seconds until @left_kb are gone, if it goes on like that.
static u64 trend_exhausts(const struct trend *t, u64 left_kb)
{
	return left_kb * t->ms / max(t->grown_kb, 1ULL) / 1000;
}

#endif
