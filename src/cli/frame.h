/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What is to be seen: lines with a style each, for a screen or for a file.
 */
#ifndef GS_CLI_FRAME_H
#define GS_CLI_FRAME_H

#include <stdbool.h>
#include <stddef.h>

enum frame_style {
	FRAME_PLAIN,
	FRAME_BOLD,
	/** Headings of a table. */
	FRAME_HEADING,
	FRAME_INFO,
	FRAME_WARNING,
	FRAME_ERROR,
	FRAME_CRITICAL,
};

struct frame_line {
	enum frame_style style;
	char *text;
};

/** Zero-initialise; end it with frame_deinit(). */
struct frame {
	/** Columns of the screen; 0: any number. Longer lines are cut. */
	size_t width;
	struct frame_line *lines;
	size_t count, capacity;
	/** Memory was short. */
	bool failed;
};

void frame_deinit(struct frame *frame);

/** Append a line, whose text is fit for a terminal (text_escape()). */
void frame_add(struct frame *frame, enum frame_style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Columns of a bar's inside, and its text "[||||    ]" for @p part of one. */
#define FRAME_BAR 20
void frame_bar(char buf[FRAME_BAR + 3], double part);

/** Print it on standard output. */
void frame_print(const struct frame *frame);

#endif
