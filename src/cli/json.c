// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"

static struct json_object *new_string(const char *s, size_t len)
{
	size_t good = 0;

	while (good < len) {
		size_t n = utf8_length(s + good, len - good);

		if (!n)
			break;
		good += n;
	}
	if (good == len)
		return json_object_new_string_len(s, len);

	// Each bad byte becomes the three bytes of U+FFFD.
	_cleanup_free_ char *clean = malloc(len * 3);
	size_t used = good;

	if (!clean)
		return NULL;
	memcpy(clean, s, good);
	while (good < len) {
		size_t n = utf8_length(s + good, len - good);

		memcpy(clean + used, n ? s + good : "\xef\xbf\xbd", n ? n : 3);
		used += n ? n : 3;
		good += n ? n : 1;
	}
	return json_object_new_string_len(clean, used);
}

void json_add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, value ? new_string(value, strlen(value)) : NULL);
}

void json_add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

void json_add_bool(struct json_object *object, const char *name, bool value)
{
	json_object_object_add(object, name, json_object_new_boolean(value));
}

void json_add_hex(struct json_object *object, const char *name, uint64_t value)
{
	char text[TEXT_NUMBER_MAX];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_add_string(object, name, text);
}

const char *json_severity(unsigned int severity)
{
	static const char *const words[] = {
		[0] = "",
		[GS_INFO] = "info",
		[GS_WARNING] = "warning",
		[GS_ERROR] = "error",
		[GS_CRITICAL] = "critical",
	};

	return severity < ARRAY_SIZE(words) ? words[severity] : "";
}

void json_add_time(struct json_object *object, const char *name, uint64_t ns, unsigned int digits)
{
	char date[TEXT_NUMBER_MAX], fraction[16], text[2 * TEXT_NUMBER_MAX];
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm = {};

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(fraction, sizeof(fraction), "%09u", (unsigned int)(ns % 1000000000));
	snprintf(text, sizeof(text), "%s.%.*sZ", date, (int)digits, fraction);
	json_add_string(object, name, text);
}

struct json_object *json_item(const struct gs_item *item)
{
	char text[TEXT_NUMBER_MAX];

	switch (item->type) {
	case GS_ITEM_INT:
		return json_object_new_int64(item->i);
	case GS_ITEM_UINT:
		return json_object_new_uint64(item->u);
	case GS_ITEM_HEX:
		snprintf(text, sizeof(text), "0x%" PRIx64, item->u);
		return json_object_new_string(text);
	case GS_ITEM_DOUBLE:
		return isfinite(item->d) ? json_object_new_double(item->d) : NULL;
	case GS_ITEM_STRING:
	case GS_ITEM_SYMBOL:
		return new_string(item->string, item->length);
	case GS_ITEM_CHAR:
		// %c of 0 is no character.
		text[0] = (char)item->u;
		return new_string(text, text[0] ? 1 : 0);
	}
	return NULL;
}

void json_add_item(struct json_object *object, const struct gs_item *item)
{
	json_object_object_add(object, item->name, json_item(item));
}

struct json_object *json_row(const struct row *row)
{
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; object && i < row->count; i++)
		json_add_item(object, &row->items[i]);
	return object;
}

void json_print_rows(const struct rows *rows)
{
	fputs("[", stdout);
	for (size_t i = 0; i < rows->count; i++) {
		struct json_object *object = json_row(&rows->rows[i]);

		fputs(i ? ",\n" : "\n", stdout);
		fputs(json_object_to_json_string_ext(
			      object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		      stdout);
		json_object_put(object);
	}
	fputs("\n]\n", stdout);
}

void json_print(struct json_object *object, bool pretty)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

	flags |=
		pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : JSON_C_TO_STRING_PLAIN;
	puts(json_object_to_json_string_ext(object, flags));
	json_object_put(object);
}
