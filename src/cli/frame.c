// SPDX-License-Identifier: Apache-2.0
#include "cli/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "util/array.h"

void frame_deinit(struct frame *frame)
{
	for (size_t i = 0; i < frame->count; i++)
		free(frame->lines[i].text);
	free(frame->lines);
	*frame = (struct frame){};
}

// After so many characters, and without the blanks at the end.
static void cut(char *text, size_t width)
{
	size_t size = strlen(text), at = 0;

	for (size_t column = 0; at < size && (!width || column < width); column++) {
		size_t n = utf8_length(text + at, size - at);

		at += n ? n : 1;
	}
	while (at && text[at - 1] == ' ')
		at--;
	text[at] = 0;
}

void frame_add(struct frame *frame, enum frame_style style, const char *format, ...)
{
	struct frame_line line = { .style = style };
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&line.text, format, ap) < 0)
		line.text = NULL;
	va_end(ap);
	if (!line.text || !gs_array_push(frame->lines, frame->count, frame->capacity, line)) {
		free(line.text);
		frame->failed = true;
		return;
	}
	cut(line.text, frame->width);
}

void frame_bar(char buf[FRAME_BAR + 3], double part)
{
	int full = part <= 0 ? 0 : part >= 1 ? FRAME_BAR : (int)(part * FRAME_BAR + 0.5);

	buf[0] = '[';
	memset(buf + 1, '|', full);
	memset(buf + 1 + full, ' ', FRAME_BAR - full);
	strcpy(buf + 1 + FRAME_BAR, "]");
}

void frame_print(const struct frame *frame)
{
	for (size_t i = 0; i < frame->count; i++)
		puts(frame->lines[i].text);
}
