/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A terminal that is shown whole frames and gives keys, by ncurses.
 */
#ifndef GS_CLI_SCREEN_H
#define GS_CLI_SCREEN_H

#include <gpusentinel/error.h>

#include "cli/frame.h"

/** Keys that are no characters. */
enum screen_key {
	SCREEN_NONE = 0,
	SCREEN_UP = 256,
	SCREEN_DOWN,
	SCREEN_LEFT,
	SCREEN_RIGHT,
	SCREEN_PAGE_UP,
	SCREEN_PAGE_DOWN,
	SCREEN_HOME,
	SCREEN_END,
	/** Any other. */
	SCREEN_OTHER,
};

/**
 * Take the terminal of standard input and output; screen_close() gives it back as it was.
 * @return GS_ERROR_USAGE if there is none, or none of a known kind.
 */
struct gs_error *screen_open(void);
void screen_close(void);

/** Columns and lines. */
void screen_size(size_t *width_ret, size_t *height_ret);

/** After SIGWINCH: take the terminal's new size. */
void screen_resize(void);

/** Show a frame in place of the one before. */
void screen_show(const struct frame *frame);

/** The next key that has been pressed: a character or an enum screen_key; SCREEN_NONE: there is none. */
int screen_key(void);

#endif
