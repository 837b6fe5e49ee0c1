/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What `gpusentinel top` shows of what it knows.
 */
#ifndef GS_CLI_TOP_DRAW_H
#define GS_CLI_TOP_DRAW_H

#include "cli/frame.h"
#include "cli/top_model.h"

/** A screen smaller than this shows nothing but that. */
enum { TOP_MIN_WIDTH = 40, TOP_MIN_HEIGHT = 10 };

struct top_view {
	const char *target, *release, *engine;
	enum top_order order;
	bool reverse, hide_kthreads, help;
	/** One line for all CPUs. */
	bool one_cpu_line;
	/** Lines of the screen; 0: any number. */
	size_t height;
	/** Processes at most; 0: any number. */
	size_t processes;
	/** Processes that are scrolled away; drawing limits it. */
	size_t scroll;
	/** Set by drawing: lines of processes on the screen. */
	size_t page;
};

/** Draw what is known now. Takes the lock. */
void top_draw(struct top *top, struct top_view *view, struct frame *frame);

#endif
