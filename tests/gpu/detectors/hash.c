// SPDX-License-Identifier: Apache-2.0
// A keyed hash of all memory: how fast can it be gone through? The sum does not depend on the order
// in which threads add to it.
#include "pages.h"

#define KEY 0x6a09e667f3bcc908ULL
#define STEP 0x9e3779b97f4a7c15ULL

static struct total hash_total, page_total;

static u64 mix(u64 word, u64 index)
{
	u64 x = word ^ (KEY + index * STEP);

	x *= STEP;
	return x ^ (x >> 32);
}

#define mix4(page, index, i)                                           \
	(mix((page)[(i) * LANES], (index) + (i) * LANES) +             \
	 mix((page)[((i) + 1) * LANES], (index) + ((i) + 1) * LANES) + \
	 mix((page)[((i) + 2) * LANES], (index) + ((i) + 2) * LANES) + \
	 mix((page)[((i) + 3) * LANES], (index) + ((i) + 3) * LANES))

DETECTOR(hash, .description = "a hash of all memory", .period_ms = 1000, .threads = 256,
	 .blocks = 64, .budget = 1 << 30)
{
	u64 hash = 0, pages = 0;

	for_each_page(i, ram_pages())
	{
		const u64 *start = ram_page(i);

		if (!start)
			continue;
		for_each_lane(lane)
		{
			const u64 *page = start + lane;
			u64 index = i * PAGE_WORDS + lane;

			hash += mix4(page, index, 0) + mix4(page, index, 4) + mix4(page, index, 8) +
				mix4(page, index, 12);
			pages += lane == 0;
		}
	}
	total_add(hash_total, hash);
	total_add(page_total, pages);
	if (last_thread()) {
		pages = total_take(page_total);
		row("bytes=%llu pages=%llu hash=%llu", pages * PAGE_SIZE, pages,
		    total_take(hash_total));
	}
}
