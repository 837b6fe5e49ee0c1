/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Output for programs.
 *
 * Strings are UTF-8: a byte of the watched machine that is not becomes U+FFFD. Integers are JSON
 * integers of up to 64 bits; %x and %p items are strings "0x..."; an infinite or undefined double is null.
 */
#ifndef GS_CLI_JSON_H
#define GS_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "cli/rows.h"

/** Add a member; each takes no ownership of text. Short memory leaves the member out. */
void json_add_string(struct json_object *object, const char *name, const char *value);
void json_add_number(struct json_object *object, const char *name, uint64_t value);
void json_add_bool(struct json_object *object, const char *name, bool value);
/** "0x..." */
void json_add_hex(struct json_object *object, const char *name, uint64_t value);
/** The word for a severity; empty if it is none. */
const char *json_severity(unsigned int severity);
/** Time since the epoch as RFC 3339 has it, with @p digits (up to 9) of a second's fraction. */
void json_add_time(struct json_object *object, const char *name, uint64_t ns, unsigned int digits);
/** An item's value; NULL is JSON's null. */
struct json_object *json_item(const struct gs_item *item);
/** An item under its column's name. */
void json_add_item(struct json_object *object, const struct gs_item *item);

/** One object with the columns of @p row. */
struct json_object *json_row(const struct row *row);

/** Print an array of all rows, one row a line. */
void json_print_rows(const struct rows *rows);

/** Print @p object on one line, or over several if @p pretty, and end it. */
void json_print(struct json_object *object, bool pretty);

#endif
