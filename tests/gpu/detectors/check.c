// SPDX-License-Identifier: Apache-2.0
// What the integrity detector does all the time, alone: the kernel's text and constants are compared
// with a copy from the first run.
#include "pages.h"

#define COPY_PAGES (48UL << 20 >> 12)

extern char _stext[] __ksym;
extern char _etext[] __ksym;
extern char __start_rodata[] __ksym;
extern char __end_rodata[] __ksym;

static u64 copy[COPY_PAGES * PAGE_WORDS];
static struct total value_total, differing_total;

#define differs4(page, then, i)                                    \
	(((page)[(i) * LANES] ^ (then)[(i) * LANES]) |             \
	 ((page)[((i) + 1) * LANES] ^ (then)[((i) + 1) * LANES]) | \
	 ((page)[((i) + 2) * LANES] ^ (then)[((i) + 2) * LANES]) | \
	 ((page)[((i) + 3) * LANES] ^ (then)[((i) + 3) * LANES]))

#define copy4(page, then, i)                                           \
	do {                                                           \
		(then)[(i) * LANES] = (page)[(i) * LANES];             \
		(then)[((i) + 1) * LANES] = (page)[((i) + 1) * LANES]; \
		(then)[((i) + 2) * LANES] = (page)[((i) + 2) * LANES]; \
		(then)[((i) + 3) * LANES] = (page)[((i) + 3) * LANES]; \
	} while (0)

DETECTOR(check, .description = "the kernel's text and constants against a copy", .period_ms = 1000,
	 .threads = 256, .blocks = 64, .budget = 1 << 30)
{
	u64 text_pages = (_etext - _stext + PAGE_SIZE - 1) / PAGE_SIZE;
	u64 pages = text_pages + (__end_rodata - __start_rodata) / PAGE_SIZE;
	u64 values = 0, differing = 0;

	if (pages > COPY_PAGES)
		pages = COPY_PAGES;
	for_each_page(i, pages)
	{
		const char *start = i < text_pages ? _stext + i * PAGE_SIZE
						   : __start_rodata + (i - text_pages) * PAGE_SIZE;

		for_each_lane(lane)
		{
			const u64 *page = (const u64 *)start + lane;
			u64 *then = &copy[i * PAGE_WORDS + lane];

			if (run_count() == 0) {
				copy4(page, then, 0);
				copy4(page, then, 4);
				copy4(page, then, 8);
				copy4(page, then, 12);
			}
			differing += (differs4(page, then, 0) | differs4(page, then, 4) |
				      differs4(page, then, 8) | differs4(page, then, 12)) != 0;
			values += LANE_WORDS;
		}
	}
	total_add(value_total, values);
	total_add(differing_total, differing);
	if (last_thread())
		row("values=%llu differing=%llu", total_take(value_total),
		    total_take(differing_total));
}
