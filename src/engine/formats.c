// SPDX-License-Identifier: Apache-2.0
#include "engine/formats.h"

#include <string.h>

#include "engine/format.h"
#include "mailbox/layout.h"
#include "util/cleanup.h"

static struct mailbox_format format_of(const void *arg, uint32_t index)
{
	const struct gs_fat *fat = arg;
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

	if (ret)
		mailbox_formats(ret, room, fat->header->formats.count, format_of, fat);
	return ret;
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
		struct gs_error *err = entry->offset
					       ? format_parse((const char *)formats + entry->offset,
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
