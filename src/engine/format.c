// SPDX-License-Identifier: Apache-2.0
#include "engine/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

// Widths and precisions beyond this are a mistake.
#define MAX_WIDTH 1024

bool text_grow(struct text *text, size_t size)
{
	if (text->failed)
		return false;

	size_t wanted = (text->size + size + 1) * 2;
	char *grown = realloc(text->data, wanted);

	if (!grown) {
		text->failed = true;
		return false;
	}
	text->data = grown;
	text->capacity = wanted;
	return true;
}

void text_add_own(struct text *text, size_t offset, size_t size)
{
	if (!text_reserve(text, size))
		return;
	memcpy(text->data + text->size, text->data + offset, size);
	text->size += size;
	text->data[text->size] = 0;
}

static void text_add_spaces(struct text *text, size_t count)
{
	if (!text_reserve(text, count))
		return;
	memset(text->data + text->size, ' ', count);
	text->size += count;
	text->data[text->size] = 0;
}

// Bytes of the UTF-8 character at @s; 0 if there is none that may be shown. Unicode 3.9, table 3-7:
// no overlong forms, no surrogates, nothing above U+10FFFF; and no control characters.
static size_t utf8_length(const unsigned char *s, size_t size)
{
	if (s[0] >= 0x20 && s[0] < 0x7f)
		return 1;

	size_t length = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
			: (s[0] & 0xf0) == 0xe0	       ? 3
			: s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
						       : 0;

	if (!length || length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
	    (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

// Returns the number of characters that a terminal shows.
static size_t add_escaped(struct text *text, const char *bytes, size_t size)
{
	const unsigned char *s = (const unsigned char *)bytes;
	size_t shown = 0;

	while (size) {
		size_t plain = 0;

		for (size_t length;
		     plain < size && (length = utf8_length(s + plain, size - plain));) {
			plain += length;
			shown++;
		}
		text_add(text, (const char *)s, plain);
		s += plain;
		size -= plain;
		if (!size)
			break;

		char escape[5];

		snprintf(escape, sizeof(escape), "\\x%02x", *s);
		text_add(text, escape, 4);
		shown += 4;
		s++;
		size--;
	}
	return shown;
}

void text_add_escaped(struct text *text, const char *bytes, size_t size)
{
	if (!size)
		text_add(text, "", 0);
	add_escaped(text, bytes, size);
}

static bool parse_number(const char **p, int *ret)
{
	int value = 0;

	while (**p >= '0' && **p <= '9') {
		value = value * 10 + (*(*p)++ - '0');
		if (value > MAX_WIDTH)
			return false;
	}
	*ret = value;
	return true;
}

static unsigned int parse_size(const char **p)
{
	if (gs_parse_skip(p, "hh"))
		return 1;
	if (gs_parse_skip(p, "h"))
		return 2;
	if (gs_parse_skip(p, "ll") || gs_parse_skip(p, "l") || gs_parse_skip(p, "z") ||
	    gs_parse_skip(p, "j") || gs_parse_skip(p, "t"))
		return 8;
	return 4;
}

// Behind the '%'.
static bool parse_conversion(const char **p, struct format_item *item)
{
	size_t flags = 0;

	while (**p && strchr("-+ #0", **p)) {
		if (!strchr(item->flags, **p))
			item->flags[flags++] = **p;
		(*p)++;
	}

	item->width = item->precision = -1;
	if (**p >= '0' && **p <= '9' && !parse_number(p, &item->width))
		return false;
	if (gs_parse_skip(p, ".") && !parse_number(p, &item->precision))
		return false;
	item->size = parse_size(p);
	item->conversion = *(*p)++;

	switch (item->conversion) {
	case 'd':
	case 'i':
		item->type = GS_ITEM_INT;
		return true;
	case 'u':
	case 'o':
		item->type = GS_ITEM_UINT;
		return true;
	case 'x':
	case 'X':
		item->type = GS_ITEM_HEX;
		return true;
	case 'c':
		item->type = GS_ITEM_CHAR;
		return true;
	case 's':
		item->type = GS_ITEM_STRING;
		return true;
	case 'p':
		item->size = 8;
		item->type = gs_parse_skip(p, "S") ? GS_ITEM_SYMBOL : GS_ITEM_HEX;
		return true;
	case 'e':
	case 'f':
	case 'g':
		item->type = GS_ITEM_DOUBLE;
		return true;
	default:
		return false;
	}
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

// Where the name that ends before @end begins. It may end with a word in brackets, as in
// /proc/meminfo's "Active(anon)".
static size_t name_start(const char *literal, size_t end)
{
	size_t start = end;

	if (start && literal[start - 1] == ')') {
		start--;
		while (start && name_char(literal[start - 1]))
			start--;
		if (start < 2 || literal[start - 1] != '(' || !name_char(literal[start - 2]))
			return end;
		start--;
	}
	while (start && name_char(literal[start - 1]))
		start--;
	return start;
}

// "pid=%d" names its column; so does "pid=\"%d\"", as metrics write labels.
static char *column_name(const char *literal, size_t index)
{
	size_t end = strlen(literal);

	if (end && literal[end - 1] == '"')
		end--;
	if (end && literal[end - 1] == '=') {
		size_t start = name_start(literal, --end);

		if (start < end)
			return strndup(literal + start, end - start);
	}

	char *name;

	return asprintf(&name, "c%zu", index) < 0 ? NULL : name;
}

static void destroy_item(struct format_item *item)
{
	free(item->name);
	free(item->literal);
}

static void cleanup_format(struct format **format)
{
	format_destroy(*format);
}

static char *take_text(struct text *text)
{
	if (!text->data)
		text_add(text, "", 0);

	char *data = text->failed ? NULL : text->data;

	if (!data)
		free(text->data);
	*text = (struct text){};
	return data;
}

static bool push_item(struct format *format, size_t *capacity, struct format_item *item,
		      size_t index)
{
	if (item->literal) {
		item->literal_size = strlen(item->literal);
		item->name = column_name(item->literal, index);
	}
	if (item->name && gs_array_push(format->items, format->count, *capacity, *item))
		return true;
	destroy_item(item);
	return false;
}

// @literal collects the text before the conversion; the caller frees what is left in it.
static struct gs_error *parse(const char *text, struct format *format, size_t *capacity,
			      struct text *literal)
{
	size_t length = strlen(text);

	// Habit ends messages with a newline; a record is a line anyway.
	if (length && text[length - 1] == '\n')
		length--;

	const char *end = text + length;
	size_t index = 0;

	for (const char *p = text; p < end;) {
		const char *percent = memchr(p, '%', (size_t)(end - p));

		text_add_escaped(literal, p, (size_t)((percent ? percent : end) - p));
		if (!percent)
			break;
		p = percent + 1;
		if (*p == '%') {
			text_add(literal, "%", 1);
			p++;
			continue;
		}

		struct format_item item = {};

		if (!parse_conversion(&p, &item) || p > end) {
			return gs_error_create(GS_ERROR_DETECTOR,
					       "unknown conversion \"%.8s\" in the format \"%s\"",
					       percent, text);
		}
		if (format->count >= GS_RECORD_MAX_ARGS) {
			return gs_error_create(GS_ERROR_DETECTOR,
					       "more than %d conversions in the format \"%s\"",
					       GS_RECORD_MAX_ARGS, text);
		}
		item.literal = take_text(literal);
		if (!push_item(format, capacity, &item, ++index))
			return &gs_enomem;
	}
	return NULL;
}

// What comes before the items of the conversions.
static size_t hidden_items(uint32_t kind)
{
	switch (kind) {
	case GS_RECORD_METRIC:
		return 1;
	case GS_RECORD_ALARM:
		return GS_ALARM_ITEMS;
	default:
		return 0;
	}
}

static bool push_hidden(struct format *format, size_t *capacity)
{
	struct format_item item = {
		.name = strdup("value"),
		.literal = strdup(""),
		.type = GS_ITEM_UINT,
		.size = 8,
		.width = -1,
		.precision = -1,
	};

	if (item.literal && item.name &&
	    gs_array_push(format->items, format->count, *capacity, item))
		return true;
	destroy_item(&item);
	return false;
}

// "hung: task waits" is a message about a condition in the table hung.
static bool take_name(const char **text, struct format *format)
{
	const char *p = *text;

	while (name_char(*p))
		p++;
	if (p == *text || p[0] != ':' || p[1] != ' ')
		return false;
	format->name = strndup(*text, (size_t)(p - *text));
	*text = p + 2;
	return true;
}

struct gs_error *format_parse(const char *text, uint32_t kind, struct format **ret)
{
	_cleanup_(cleanup_format) struct format *format = calloc(1, sizeof(*format));
	size_t capacity = 0;

	if (!format)
		return &gs_enomem;
	format->hidden = hidden_items(kind);
	for (size_t i = 0; i < format->hidden; i++) {
		if (!push_hidden(format, &capacity))
			return &gs_enomem;
	}
	if (kind == GS_RECORD_ALARM && !take_name(&text, format))
		return gs_error_create(GS_ERROR_DETECTOR, "no name before the format \"%s\"", text);
	if (!format->name)
		format->name = strdup("");
	if (!format->name)
		return &gs_enomem;

	struct text literal = {};
	struct gs_error *err = parse(text, format, &capacity, &literal);

	format->tail = take_text(&literal);
	if (err)
		return err;
	if (!format->tail)
		return &gs_enomem;
	format->tail_size = strlen(format->tail);
	*ret = no_cleanup_ptr(format);
	return NULL;
}

void format_destroy(struct format *format)
{
	if (!format)
		return;
	for (size_t i = 0; i < format->count; i++)
		destroy_item(&format->items[i]);
	free(format->items);
	free(format->name);
	free(format->tail);
	free(format);
}

uint64_t format_integer(const struct format_item *item, uint64_t value)
{
	bool is_signed = item->type == GS_ITEM_INT;

	switch (item->size) {
	case 1:
		return is_signed ? (uint64_t)(int8_t)value : (uint8_t)value;
	case 2:
		return is_signed ? (uint64_t)(int16_t)value : (uint16_t)value;
	case 4:
		return is_signed ? (uint64_t)(int32_t)value : (uint32_t)value;
	default:
		return value;
	}
}

// Most numbers have neither flags nor width, and a list has tens of thousands of them.
static void add_plain_decimal(uint64_t u, bool negative, struct text *text)
{
	char buf[24];
	char *p = buf + sizeof(buf);

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (negative)
		*--p = '-';
	text_add(text, p, (size_t)(buf + sizeof(buf) - p));
}

// printf() for one number, with a format made of checked parts.
static void add_number(const struct format_item *item, const char *length, char conversion,
		       uint64_t u, struct text *text)
{
	char spec[48];
	size_t n = (size_t)snprintf(spec, sizeof(spec), "%%%s", item->flags);

	if (item->width >= 0)
		n += (size_t)snprintf(spec + n, sizeof(spec) - n, "%d", item->width);
	if (item->precision >= 0)
		n += (size_t)snprintf(spec + n, sizeof(spec) - n, ".%d", item->precision);
	snprintf(spec + n, sizeof(spec) - n, "%s%c", length, conversion);

	// A double has at most 309 digits before the point.
	char buf[2 * MAX_WIDTH + 512];
	int written;

	if (item->type == GS_ITEM_DOUBLE) {
		double d;

		memcpy(&d, &u, sizeof(d));
		written = snprintf(buf, sizeof(buf), spec, d);
	} else {
		written = snprintf(buf, sizeof(buf), spec, (unsigned long long)u);
	}
	if (written > 0)
		text_add(text, buf,
			 (size_t)written < sizeof(buf) ? (size_t)written : sizeof(buf) - 1);
}

// Width counts what is seen, so that columns stay aligned whatever was escaped.
static void add_padded(const struct format_item *item, const char *bytes, size_t size,
		       struct text *text)
{
	if (item->width <= 0) {
		text_add_escaped(text, bytes, size);
		return;
	}

	bool left = strchr(item->flags, '-');
	struct text escaped = {};
	size_t shown = add_escaped(&escaped, bytes, size);
	size_t pad = (size_t)item->width > shown ? (size_t)item->width - shown : 0;

	if (pad && !left)
		text_add_spaces(text, pad);
	text_add(text, escaped.data ? escaped.data : "", escaped.size);
	if (pad && left)
		text_add_spaces(text, pad);
	if (escaped.failed)
		text->failed = true;
	free(escaped.data);
}

void format_add_item(const struct format_item *item, const struct format_value *value,
		     format_symbolize_fn *symbolize, void *arg, struct text *text)
{
	switch (item->type) {
	case GS_ITEM_STRING: {
		size_t length = value->length;

		if (item->precision >= 0 && length > (size_t)item->precision)
			length = (size_t)item->precision;
		add_padded(item, value->bytes, length, text);
		return;
	}
	case GS_ITEM_CHAR: {
		char c = (char)value->u;

		add_padded(item, &c, 1, text);
		return;
	}
	case GS_ITEM_SYMBOL: {
		// KSYM_NAME_LEN is 512 since Linux kernel commit b8a94bfb3395 (in v6.1), plus
		// offset and module.
		char name[700];

		symbolize(arg, value->u, name, sizeof(name));
		add_padded(item, name, strlen(name), text);
		return;
	}
	case GS_ITEM_DOUBLE:
		add_number(item, "", item->conversion, value->u, text);
		return;
	default:
		break;
	}

	uint64_t u = format_integer(item, value->u);

	if (item->conversion == 'p') {
		struct format_item pointer = *item;

		// As printf writes 0x for %p, also for NULL.
		pointer.precision = -1;
		if (!u) {
			pointer.flags[0] = 0;
			if (strchr(item->flags, '-'))
				strcpy(pointer.flags, "-");
			add_padded(&pointer, "0x0", 3, text);
			return;
		}
		if (!strchr(pointer.flags, '#'))
			strcat(pointer.flags, "#");
		add_number(&pointer, "ll", 'x', u, text);
		return;
	}
	if (item->type != GS_ITEM_HEX && item->conversion != 'o' && !*item->flags &&
	    item->width < 0 && item->precision < 0) {
		bool negative = item->type == GS_ITEM_INT && (int64_t)u < 0;

		add_plain_decimal(negative ? -u : u, negative, text);
		return;
	}
	add_number(item, "ll", item->conversion, u, text);
}
