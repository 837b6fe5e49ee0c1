// SPDX-License-Identifier: Apache-2.0
// The check of memory that was read: all of a dump goes through it. Units are taken in their order, so that the strands' sums do not
// wait for one another.
#include <pthread.h>
#include <string.h>

#include "mailbox/client.h"
#include "mailbox/layout.h"
#include "util/clock.h"

// Takes one word into a strand's CRC.
typedef uint64_t sum_fn(const struct gs_crc32c *table, uint64_t crc, uint64_t word);

static inline __attribute__((always_inline)) uint32_t check_with(sum_fn *sum, const void *bytes,
								 size_t size)
{
	const struct gs_crc32c *table = mailbox_crc32c();
	uint64_t crc[GS_READ_STRANDS];
	uint32_t check = 0;

	for (uint32_t strand = 0; strand < GS_READ_STRANDS; strand++)
		crc[strand] = GS_CRC32C_START;
	for (size_t k = 0; k < size / GS_READ_UNIT; k++) {
		uint64_t words[2], *strand = &crc[k % GS_READ_STRANDS];

		_Static_assert(sizeof(words) == GS_READ_UNIT, "a unit is two words");
		memcpy(words, (const char *)bytes + k * GS_READ_UNIT, sizeof(words));
		*strand = sum(table, sum(table, *strand, words[0]), words[1]);
	}
	for (uint32_t strand = 0; strand < GS_READ_STRANDS; strand++)
		check += (2 * strand + 1) * gs_crc32c_finish((uint32_t)crc[strand]);
	return check;
}

static inline uint64_t sum_by_table(const struct gs_crc32c *table, uint64_t crc, uint64_t word)
{
	return gs_crc32c_word(table, (uint32_t)crc, word);
}

uint32_t mailbox_read_check_by_table(const void *bytes, size_t size)
{
	return check_with(sum_by_table, bytes, size);
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static inline uint64_t sum_by_cpu(const struct gs_crc32c *table,
								    uint64_t crc, uint64_t word)
{
	(void)table;
	return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2"))) static uint32_t check_by_cpu(const void *bytes, size_t size)
{
	return check_with(sum_by_cpu, bytes, size);
}

static bool cpu_can_check(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
#define check_by_cpu mailbox_read_check_by_table

static bool cpu_can_check(void)
{
	return false;
}
#endif

typedef uint32_t check_fn(const void *bytes, size_t size);

static check_fn *check = mailbox_read_check_by_table;
static pthread_once_t check_once = PTHREAD_ONCE_INIT;

static uint64_t time_of(check_fn *fn)
{
	static const uint8_t page[GS_READ_PAGE];
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t begin = clock_ns(CLOCK_MONOTONIC), time;
		volatile uint32_t result = fn(page, sizeof(page));

		(void)result;
		time = clock_ns(CLOCK_MONOTONIC) - begin;
		least = time < least ? time : least;
	}
	return least;
}

// A CPU's instruction is several times as fast as the table, but slower where the CPU is emulated.
static void choose(void)
{
	if (cpu_can_check() && time_of(check_by_cpu) < time_of(mailbox_read_check_by_table))
		check = check_by_cpu;
}

uint32_t mailbox_read_check(const void *bytes, size_t size)
{
	pthread_once(&check_once, choose);
	return check(bytes, size);
}
