// SPDX-License-Identifier: Apache-2.0
// What no kernel changes once it is up: its text, its constants with the system-call table, the
// interrupt table, and the same of modules. Compared with a copy from the detector's first run.
//
// Many threads compare, a part of all pages in each run. When all have been looked at, the block that
// ends last does the rest: it follows modules as they come and go, takes over what the kernel itself
// has patched (the copy then holds the patched form), and reports what differs still. A difference
// is reported when two such looks in a row have seen it: one alone may have met a module on its
// way out or a breakpoint on its way in.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "integrity_areas.h"
#include "integrity_patches.h"
#include "integrity_report.h"

// Words of a page go to the lanes of a warp in turn, so that neighbours read neighbouring words. All
// that one lane reads of a page, at constant distances, is under way at once.
#define LANES 32U
// Runs that together look at everything: a run stays short, also on a CPU.
#define PARTS 8U

#define differs4(page, then, i)                                    \
	(((page)[(i) * LANES] ^ (then)[(i) * LANES]) |             \
	 ((page)[((i) + 1) * LANES] ^ (then)[((i) + 1) * LANES]) | \
	 ((page)[((i) + 2) * LANES] ^ (then)[((i) + 2) * LANES]) | \
	 ((page)[((i) + 3) * LANES] ^ (then)[((i) + 3) * LANES]))

static void compare(void)
{
	u32 width = min(thread_count(), LANES), step = thread_count() / width;
	u32 part = run_count() % PARTS, end = (part + 1) * slot_count / PARTS;

	for (u32 slot = part * slot_count / PARTS + thread_index() / width; slot < end;
	     slot += step) {
		u64 address = slot_address[slot], differs = 0;

		for (u32 lane = thread_index() % width; address && lane < LANES; lane += width) {
			const u64 *page = (const u64 *)address + lane;
			const u64 *then = &baseline[slot * PAGE_WORDS + lane];

			differs |= differs4(page, then, 0) | differs4(page, then, 4) |
				   differs4(page, then, 8) | differs4(page, then, 12);
		}
		if (differs)
			__atomic_fetch_or(&changed[slot / 64], 1ULL << (slot % 64),
					  __ATOMIC_RELAXED);
	}
}

// True in all threads of the block that is the last one to come here in this run.
static bool last_block(void)
{
	static u32 arrived[2];
	u32 now = run_count() & 1;
	bool last = false;

	block_barrier();
	if (block_thread_index() == 0) {
		if (block_index() == 0)
			__atomic_store_n(&arrived[!now], 0, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		last = __atomic_fetch_add(&arrived[now], 1, __ATOMIC_SEQ_CST) == block_count() - 1;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	return block_any(last);
}

// One word of a page that differs in other bytes than those that the kernel is busy with.
static void find_foreign(void)
{
	for (u32 i = 0; i < (slot_count + 63) / 64; i++) {
		u64 slots = __atomic_load_n(&changed[i], __ATOMIC_RELAXED);

		for (; slots; slots &= slots - 1) {
			u32 slot = i * 64 + __builtin_ctzll(slots);

			for (u32 w = block_thread_index(); w < PAGE_WORDS;
			     w += block_thread_count()) {
				if (slot_address[slot] && foreign_bytes(slot, w))
					__atomic_fetch_or(&foreign[i], 1ULL << (slot % 64),
							  __ATOMIC_RELAXED);
			}
		}
	}
}

static bool any_changed(void)
{
	u64 any = 0;

	for (u32 i = block_thread_index(); i < ARRAY_SIZE(changed); i += block_thread_count())
		any |= __atomic_load_n(&changed[i], __ATOMIC_RELAXED);
	return block_any(any != 0);
}

static void forget_changed(void)
{
	for (u32 i = block_thread_index(); i < ARRAY_SIZE(changed); i += block_thread_count()) {
		changed[i] = 0;
		foreign[i] = 0;
	}
}

static void finish(void)
{
	bool first = !area_count;

	block_barrier();
	if (first && block_thread_index() == 0)
		add_kernel_areas();
	follow_modules();
	if (block_thread_index() == 0) {
		begin_report();
		list_ftrace_targets();
		if (first)
			check_tables();
	}
	if (any_changed()) {
		take_over_patches();
		block_barrier();
		find_foreign();
		block_barrier();
		if (block_thread_index() == 0)
			report_foreign();
	}
	block_barrier();
	if (block_thread_index() == 0) {
		end_report();
		next_transit();
		row("pages=%u words=%llu modules=%u areas=%u changes=%u pages_left_out=%u",
		    pages_covered, (u64)pages_covered * PAGE_WORDS, module_count, area_count,
		    change_count, pages_left_out);
	}
	forget_changed();
}

DETECTOR(integrity,
	 .description = "changes of the kernel's text, constants, system calls and interrupts",
	 .period_ms = 1000 / PARTS, .threads = 256, .blocks = 8, .budget = 64 << 20)
{
	if (!system_is_up())
		return;
	compare();
	// The copies are made in the first run.
	if (last_block() && (run_count() % PARTS == PARTS - 1 || !area_count))
		finish();
}
