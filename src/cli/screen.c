// SPDX-License-Identifier: Apache-2.0
#include "cli/screen.h"

#include <locale.h>
#include <ncurses.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>

// Every capability is a macro in term.h; this one is a member of frames.
#undef lines

#include "cli/text.h"
#include "util/array.h"

static SCREEN *terminal;

// Colour pairs are numbered by style. The background stays what it is.
static const short colours[] = {
	[FRAME_INFO] = COLOR_GREEN,
	[FRAME_WARNING] = COLOR_YELLOW,
	[FRAME_ERROR] = COLOR_RED,
	[FRAME_CRITICAL] = COLOR_RED,
};

struct gs_error *screen_open(void)
{
	const char *type = getenv("TERM");
	int known;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return gs_error_create(GS_ERROR_USAGE,
				       "top needs a terminal; --batch prints one frame as text");
	// What a name or a message holds beyond ASCII shows if the terminal's characters have it.
	setlocale(LC_CTYPE, "");
	// Asked first: newterm() leaves memory behind where it fails.
	if (setupterm(NULL, STDOUT_FILENO, &known) == OK) {
		del_curterm(cur_term);
		terminal = newterm(NULL, stdout, stdin);
	}
	if (!terminal)
		return gs_error_create(GS_ERROR_USAGE,
				       "top does not know the terminal TERM=%s; --batch prints one "
				       "frame as text",
				       type ? type : "");
	cbreak();
	noecho();
	nonl();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	// A lone escape is no key here.
	set_escdelay(25);
	curs_set(0);
	if (text_colour(stdout) && start_color() == OK && use_default_colors() == OK) {
		for (short i = FRAME_INFO; i < (short)ARRAY_SIZE(colours); i++)
			init_pair(i, colours[i], -1);
	}
	return NULL;
}

void screen_close(void)
{
	if (!terminal)
		return;
	endwin();
	delscreen(terminal);
	terminal = NULL;
}

void screen_size(size_t *width_ret, size_t *height_ret)
{
	int height, width;

	getmaxyx(stdscr, height, width);
	*width_ret = width > 0 ? (size_t)width : 1;
	*height_ret = height > 0 ? (size_t)height : 1;
}

void screen_resize(void)
{
	struct winsize size;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
	// What the terminal made of the old frame is its own affair.
	clearok(stdscr, TRUE);
}

static attr_t attributes(enum frame_style style)
{
	attr_t colour = has_colors() && text_colour(stdout) ? COLOR_PAIR(style) : 0;

	switch (style) {
	case FRAME_BOLD:
		return A_BOLD;
	case FRAME_HEADING:
		return A_REVERSE;
	case FRAME_INFO:
	case FRAME_WARNING:
	case FRAME_ERROR:
		return colour;
	case FRAME_CRITICAL:
		return colour | A_BOLD;
	default:
		return A_NORMAL;
	}
}

void screen_show(const struct frame *frame)
{
	int height = getmaxy(stdscr), width = getmaxx(stdscr);

	erase();
	for (int i = 0; i < height && (size_t)i < frame->count; i++) {
		attr_t style = attributes(frame->lines[i].style);

		attrset(style);
		mvaddstr(i, 0, frame->lines[i].text);
		// A heading goes over the whole line.
		if (frame->lines[i].style == FRAME_HEADING)
			mvchgat(i, 0, width, style, 0, NULL);
		attrset(A_NORMAL);
	}
	refresh();
}

int screen_key(void)
{
	static const struct {
		int curses, key;
	} keys[] = {
		{ KEY_UP, SCREEN_UP },	       { KEY_DOWN, SCREEN_DOWN },
		{ KEY_LEFT, SCREEN_LEFT },     { KEY_RIGHT, SCREEN_RIGHT },
		{ KEY_PPAGE, SCREEN_PAGE_UP }, { KEY_NPAGE, SCREEN_PAGE_DOWN },
		{ KEY_HOME, SCREEN_HOME },     { KEY_END, SCREEN_END },
	};
	int key = getch();

	if (key == ERR)
		return SCREEN_NONE;
	if (key > 0 && key < 256)
		return key;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (keys[i].curses == key)
			return keys[i].key;
	}
	return SCREEN_OTHER;
}
