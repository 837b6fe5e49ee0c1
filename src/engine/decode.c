// SPDX-License-Identifier: Apache-2.0
#include "engine/decode.h"

#include <string.h>

#include "util/cleanup.h"

// Where an item's bytes lie in the decoder's strings and text, which move while they grow.
struct place {
	size_t string, text, text_size;
};

struct gs_record_decoder {
	const struct decode_run *run;
	const struct format *format;
	// What items point to, and what is made on demand.
	struct text strings, text;
	bool shown;
	size_t line;
	struct gs_item items[GS_RECORD_MAX_ARGS + 1];
	struct format_value values[GS_RECORD_MAX_ARGS + 1];
	struct place places[GS_RECORD_MAX_ARGS + 1];
};

static void cleanup_decoder(struct gs_record_decoder **decoder)
{
	if (*decoder) {
		free((*decoder)->strings.data);
		free((*decoder)->text.data);
	}
	free(*decoder);
}

// The value behind *offset; false if the record ends before it does.
static bool take_value(const uint8_t *record, size_t size, size_t *offset,
		       const struct format_item *item, struct format_value *ret,
		       uint64_t *flags_ret)
{
	uint64_t word;

	if (size - *offset < sizeof(word))
		return false;
	memcpy(&word, record + *offset, sizeof(word));
	*offset += sizeof(word);
	*ret = (struct format_value){ .u = word };
	*flags_ret = 0;
	if (item->type != GS_ITEM_STRING)
		return true;

	size_t length = word & GS_RECORD_STRING_LEN;
	size_t padded = (length + 7) & ~(size_t)7;

	if (length > GS_RECORD_MAX_STRING || padded > size - *offset)
		return false;
	ret->bytes = (const char *)record + *offset;
	ret->length = length;
	*flags_ret = word & ~GS_RECORD_STRING_LEN;
	*offset += padded;
	return true;
}

static void fill_item(struct gs_record_decoder *decoder, size_t index, uint64_t flags)
{
	const struct format_item *format = &decoder->format->items[index];
	const struct format_value *value = &decoder->values[index];
	struct gs_item *item = &decoder->items[index];
	struct text *strings = &decoder->strings;
	const struct decode_run *run = decoder->run;

	*item = (struct gs_item){
		.name = format->name,
		.type = format->type,
		.u = format_integer(format, value->u),
		.cut = flags & GS_RECORD_STRING_CUT,
		.fault = flags & GS_RECORD_STRING_FAULT,
	};

	decoder->places[index].string = strings->size;
	if (format->type == GS_ITEM_STRING) {
		item->u = 0;
		item->length = value->length;
		text_add(strings, value->bytes, value->length);
		text_add(strings, "", 1);
	} else if (format->type == GS_ITEM_SYMBOL) {
		struct format_item plain = *format;

		plain.width = -1;
		format_add_item(&plain, value, run->symbolize, run->symbolize_arg, strings);
		item->length = strings->size - decoder->places[index].string;
		text_add(strings, "", 1);
	} else if (format->type == GS_ITEM_DOUBLE) {
		memcpy(&item->d, &value->u, sizeof(item->d));
	}
}

// Every item's text, then the whole line, made of them.
static void show(struct gs_record_decoder *decoder)
{
	const struct format *format = decoder->format;
	const struct decode_run *run = decoder->run;
	struct text *text = &decoder->text;

	if (decoder->shown)
		return;
	text->size = 0;
	for (size_t i = 0; i < format->count; i++) {
		struct place *place = &decoder->places[i];

		place->text = text->size;
		format_add_item(&format->items[i], &decoder->values[i], run->symbolize,
				run->symbolize_arg, text);
		place->text_size = text->size - place->text;
		text_add(text, "", 1);
	}
	decoder->line = text->size;
	for (size_t i = 0; i < format->count; i++) {
		const struct format_item *item = &format->items[i];

		text_add(text, item->literal, item->literal_size);
		if (item->conversion)
			text_add_own(text, decoder->places[i].text, decoder->places[i].text_size);
	}
	text_add(text, format->tail, format->tail_size);
	text_add(text, "", 1);
	decoder->shown = true;
}

const char *gs_record_item_text(const struct gs_record *record, size_t index)
{
	struct gs_record_decoder *decoder = record->decoder;

	if (index >= record->count)
		return "";
	if (record->kind == GS_RECORD_FINDING)
		index += decoder->format->hidden;
	show(decoder);
	return decoder->text.failed ? "" : decoder->text.data + decoder->places[index].text;
}

const char *gs_record_text(const struct gs_record *record)
{
	struct gs_record_decoder *decoder = record->decoder;

	show(decoder);
	return decoder->text.failed ? "" : decoder->text.data + decoder->line;
}

// The first items of a condition are not those of its message. False if they do not add up.
static bool fill_alarm(struct gs_record *record)
{
	uint64_t state = record->items[GS_ALARM_STATE].u;

	if (state < GS_OPEN || state > GS_CLOSED)
		return false;
	record->kind = GS_RECORD_FINDING;
	record->state = (enum gs_state)state;
	record->key = record->items[GS_ALARM_KEY].u;
	record->lasted_ns = record->items[GS_ALARM_LASTED].u;
	record->items += GS_ALARM_ITEMS;
	record->count -= GS_ALARM_ITEMS;
	return true;
}

static bool is_wanted(const struct decode_run *run, const struct gs_record_header *header)
{
	return header->kind >= 32 || run->kinds >> header->kind & 1;
}

// Returns why the record is damaged, or NULL.
static const char *decode_record(struct gs_record_decoder *decoder,
				 const struct gs_record_header *header, const uint8_t *bytes)
{
	const struct decode_run *run = decoder->run;
	const struct gs_fat *fat = run->fat;

	if (header->format >= fat->header->formats.count)
		return "its format does not exist";

	const struct format *format = fat->parsed[header->format];

	if (header->kind != fat->formats[header->format].kind)
		return "its kind is not that of its format";
	if (header->nargs != format->count)
		return "its number of items is not that of its format";
	if ((header->kind == GS_RECORD_FINDING || header->kind == GS_RECORD_ALARM) &&
	    (header->severity < GS_INFO || header->severity > GS_CRITICAL))
		return "its severity does not exist";

	size_t offset = sizeof(*header);

	decoder->format = format;
	decoder->shown = false;
	decoder->strings.size = 0;
	for (size_t i = 0; i < format->count; i++) {
		uint64_t flags;

		if (!take_value(bytes, header->size, &offset, &format->items[i],
				&decoder->values[i], &flags))
			return "an item does not fit in it";
		fill_item(decoder, i, flags);
	}
	if (offset != header->size)
		return "it is longer than its items";
	if (decoder->strings.failed)
		return "";

	for (size_t i = 0; i < format->count; i++) {
		struct gs_item *item = &decoder->items[i];

		if (item->type == GS_ITEM_STRING || item->type == GS_ITEM_SYMBOL)
			item->string = decoder->strings.data + decoder->places[i].string;
	}

	struct gs_record record = {
		.detector = run->detector,
		.detector_name = run->detector_name,
		.kind = header->kind,
		.severity = header->severity,
		.flags = header->flags,
		.format = header->format,
		.time_ns = header->time_ns,
		.run = header->run,
		.wall_ns = header->time_ns + run->wall_offset_ns,
		.items = decoder->items,
		.count = format->count,
		.alarm = format->name,
		.decoder = decoder,
	};

	if (header->kind == GS_RECORD_ALARM && !fill_alarm(&record))
		return "its state does not exist";
	run->fn(run->arg, &record);
	return NULL;
}

static const char *check_size(const uint8_t *bytes, size_t room, struct gs_record_header *ret)
{
	if (room < sizeof(*ret))
		return "it is cut";
	memcpy(ret, bytes, sizeof(*ret));
	if (ret->size < sizeof(*ret) || ret->size % 8 || ret->size > GS_RECORD_MAX_SIZE ||
	    ret->size > room)
		return "its size is wrong";
	return NULL;
}

struct gs_error *decode_records(const struct decode_run *run, const uint8_t *buffer, size_t size,
				uint64_t *count_ret, uint64_t *damaged_ret)
{
	_cleanup_error_ struct gs_error *first = NULL;

	*count_ret = *damaged_ret = 0;
	if (!size)
		return NULL;

	_cleanup_(cleanup_decoder) struct gs_record_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		return &gs_enomem;
	decoder->run = run;

	for (size_t offset = 0; offset < size;) {
		struct gs_record_header header;
		const char *wrong = check_size(buffer + offset, size - offset, &header);
		const char *damage = wrong;

		if (!wrong && is_wanted(run, &header))
			damage = decode_record(decoder, &header, buffer + offset);

		if (damage && decoder->strings.failed)
			return &gs_enomem;
		if (damage) {
			++*damaged_ret;
			if (!first)
				first = gs_error_create(GS_ERROR_DETECTOR,
							"%s: record at byte %zu is damaged: %s",
							run->detector_name, offset, damage);
		} else {
			++*count_ret;
		}
		if (wrong)
			break;
		offset += header.size;
	}
	return no_cleanup_ptr(first);
}
