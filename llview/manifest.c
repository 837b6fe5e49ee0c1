// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "llview.h"

uint32_t lv_string(struct lv *lv, const char *text)
{
	size_t length = strlen(text) + 1;
	size_t at = 0;

	while (at < lv->strings.count) {
		if (strcmp(lv->strings.v + at, text) == 0)
			return at;
		at += strlen(lv->strings.v + at) + 1;
	}
	for (size_t i = 0; i < length; i++)
		lv_push(lv->strings, text[i]);
	return at;
}

// Reserve room for a table behind what is there, on a multiple of 8.
static struct gs_fat_table place(size_t *end, size_t count, size_t element)
{
	size_t offset = (*end + 7) & ~(size_t)7;

	*end = offset + count * element;
	return (struct gs_fat_table){ .offset = offset, .count = count };
}

static void put(char *blob, struct gs_fat_table table, const void *from, size_t element)
{
	if (table.count)
		memcpy(blob + table.offset, from, table.count * element);
}

// Where the author has the sources is nobody else's concern.
static void name_files_below_root(struct lv *lv)
{
	if (!lv->options->source_root)
		return;

	_cleanup_free_ char *root = realpath(lv->options->source_root, NULL);
	size_t length = root ? strlen(root) : 0;

	for (size_t i = 0; i < lv->sites.count; i++) {
		struct gs_fat_site *site = &lv->sites.v[i];
		_cleanup_free_ char *file = realpath(lv->strings.v + site->file, NULL);

		if (root && file && !strncmp(file, root, length) && file[length] == '/')
			site->file = lv_string(lv, file + length + 1);
	}
}

char *lv_manifest(struct lv *lv, size_t *ret_size)
{
	struct gs_fat_header header = {
		.magic = GS_FAT_MAGIC,
		.version = GS_FAT_VERSION,
		.producer = lv_string(lv, "llview " LV_VERSION ", clang " LV_LLVM_VERSION),
	};
	size_t end = sizeof(header);

	name_files_below_root(lv);
	header.detectors = place(&end, lv->detectors.count, sizeof(struct gs_fat_detector));
	header.slots = place(&end, lv->slots.count, sizeof(struct gs_fat_slot));
	header.formats = place(&end, lv->formats.count, sizeof(struct gs_fat_format));
	header.sites = place(&end, lv->sites.count, sizeof(struct gs_fat_site));
	header.loads = place(&end, lv->loads.count, sizeof(struct gs_fat_load));
	header.strings = place(&end, lv->strings.count, 1);
	header.size = end;

	char *blob = calloc(1, end);

	if (!blob)
		lv_enomem();
	memcpy(blob, &header, sizeof(header));
	for (size_t i = 0; i < lv->detectors.count; i++)
		memcpy(blob + header.detectors.offset + i * sizeof(struct gs_fat_detector),
		       &lv->detectors.v[i].fat, sizeof(struct gs_fat_detector));
	for (size_t i = 0; i < lv->slots.count; i++)
		memcpy(blob + header.slots.offset + i * sizeof(struct gs_fat_slot),
		       &lv->slots.v[i].fat, sizeof(struct gs_fat_slot));
	put(blob, header.formats, lv->formats.v, sizeof(struct gs_fat_format));
	put(blob, header.sites, lv->sites.v, sizeof(struct gs_fat_site));
	put(blob, header.loads, lv->loads.v, sizeof(struct gs_fat_load));
	put(blob, header.strings, lv->strings.v, 1);
	*ret_size = end;
	return blob;
}
