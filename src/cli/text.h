/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Text from a hostile machine, made fit for terminals and JSON; numbers for people.
 */
#ifndef GS_CLI_TEXT_H
#define GS_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** Bytes (1 to 4) of the well-formed UTF-8 sequence (RFC 3629) at @p s; 0: none begins there. */
size_t utf8_length(const char *s, size_t left);

/** Bytes that text_escape() makes of @p len bytes at most. */
#define TEXT_ESCAPED_MAX(len) ((len) * 4)

/**
 * Copy @p len bytes to @p out with control characters and bytes that are not UTF-8 as \\xNN, and a
 * backslash left alone. A tab is kept if @p tabs.
 *
 * @param out TEXT_ESCAPED_MAX(len) + 1 bytes; ends with NUL.
 * @return bytes written without the NUL.
 */
size_t text_escape(char *out, const char *s, size_t len, bool tabs);

/** Write the escaped bytes to @p file. */
void text_print(FILE *file, const char *s, size_t len, bool tabs);

/** Columns of a terminal that escaped text takes: its code points. */
size_t text_width(const char *s);

/** Length of the buffers below. */
#define TEXT_NUMBER_MAX 32

/** "512 B", "17.3 MiB" */
void text_size(char buf[TEXT_NUMBER_MAX], uint64_t bytes);

/** CPU time as top(1) shows it: "0:01.52" minutes, seconds, hundredths; "61h02m" from 1,000 minutes on. */
void text_cpu_time(char buf[TEXT_NUMBER_MAX], uint64_t ns);

/** How long: "1.20s", "3m05s", "2h13m", "4d07h" */
void text_duration(char buf[TEXT_NUMBER_MAX], uint64_t ns);

/** 94266 as "94,266" */
void text_grouped(char buf[TEXT_NUMBER_MAX], uint64_t value);

/** Local time "2026-11-21 22:13:18.123" of nanoseconds since the epoch. */
void text_wall(char buf[TEXT_NUMBER_MAX], uint64_t wall_ns);

/** Escape sequences are wanted: @p file is a terminal that has them, and NO_COLOR is not set. */
bool text_colour(FILE *file);

#endif
