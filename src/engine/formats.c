// SPDX-License-Identifier: Apache-2.0
#include "engine/formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/format.h"
#include "mailbox/layout.h"
#include "util/cleanup.h"

// Parameters, as "name: description".
struct names {
	const struct gs_fat *fat;
	char *params[GS_CONTROL_PARAMS];
	uint32_t count;
};

static bool name_params(struct names *names)
{
	size_t count = gs_fat_param_count(names->fat);

	for (; names->count < count && names->count < GS_CONTROL_PARAMS; names->count++) {
		struct gs_param_info info;

		gs_fat_param_info(names->fat, names->count, &info);
		if (asprintf(&names->params[names->count], "%s: %s", info.name, info.description) <
		    0)
			return false;
	}
	return true;
}

static struct mailbox_format format_of(const void *arg, uint32_t index)
{
	const struct names *names = arg;
	const struct gs_fat *fat = names->fat;
	uint32_t count = fat->header->formats.count;

	if (index >= count)
		return (struct mailbox_format){
			.text = names->params[index - count],
			.kind = GS_FORMAT_PARAM,
		};

	const struct gs_fat_format *format = &fat->formats[index];

	return (struct mailbox_format){
		.text = fat_string(fat, format->format),
		.kind = (uint16_t)format->kind,
		.nargs = (uint16_t)format->nargs,
	};
}

struct gs_mailbox_formats *formats_make(const struct gs_fat *fat, uint64_t room)
{
	struct gs_mailbox_formats *ret =
		room < sizeof(struct gs_mailbox_formats) ? NULL : malloc(room);
	struct names names = { .fat = fat };

	if (ret && name_params(&names)) {
		mailbox_formats(ret, room, fat->header->formats.count + names.count, format_of,
				&names);
	} else {
		free(ret);
		ret = NULL;
	}
	for (uint32_t i = 0; i < names.count; i++)
		free(names.params[i]);
	return ret;
}

void formats_params(const struct gs_fat *fat, uint64_t slots, struct gs_control *control)
{
	size_t count = gs_fat_param_count(fat);

	control->slots = slots;
	control->param_count = count < GS_CONTROL_PARAMS ? (uint32_t)count : GS_CONTROL_PARAMS;
	for (uint32_t i = 0; i < control->param_count; i++)
		control->params[i] = fat_param_slot(fat, i);
}

// The manifest of such a detector.
struct image {
	struct gs_fat_header header;
	struct gs_fat_format formats[];
};

static void cleanup_fat(struct gs_fat **fat)
{
	gs_fat_close(*fat);
}

struct gs_error *formats_open(const struct gs_mailbox_formats *formats, const char *name,
			      struct gs_fat **ret)
{
	_cleanup_(cleanup_fat) struct gs_fat *fat = calloc(1, sizeof(*fat));
	uint32_t count = formats->count;

	if (!fat)
		return &gs_enomem;

	struct image *image =
		calloc(1, sizeof(*image) + ((size_t)count + 1) * sizeof(image->formats[0]));

	fat->manifest = (uint8_t *)image;
	fat->path = strdup(name);
	fat->parsed = calloc((size_t)count + 1, sizeof(*fat->parsed));
	if (!image || !fat->path || !fat->parsed) {
		// gs_fat_close() counts what is parsed by the manifest.
		free(fat->parsed);
		fat->parsed = NULL;
		return &gs_enomem;
	}
	fat->header = &image->header;
	fat->formats = image->formats;
	image->header.formats.count = count;
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_mailbox_format *entry = &formats->entries[i];
		bool format = entry->offset && entry->kind != GS_FORMAT_PARAM;
		struct gs_error *err = format ? format_parse((const char *)formats + entry->offset,
							     entry->kind, &fat->parsed[i])
					      : NULL;

		// No record has that kind.
		image->formats[i].kind = UINT32_MAX;
		if (!err && fat->parsed[i] && fat->parsed[i]->count == entry->nargs)
			image->formats[i].kind = entry->kind;
		gs_error_destroy(err);
	}
	*ret = no_cleanup_ptr(fat);
	return NULL;
}
