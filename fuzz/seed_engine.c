// SPDX-License-Identifier: Apache-2.0
#include "seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

enum {
	// What engine_records takes at most, and how much of a buffer is enough.
	MAX_FORMATS = 16,
	MAX_RECORDS = 3000,
};

static void take_manifest(const struct gs_fat *fat, const char *name)
{
	struct seed seed = {};

	seed_add(&seed, fat->manifest, fat->header->size);
	seed_save(&seed, "engine_fat", name, "manifest");
	seed_add(&seed, fat->manifest, fat->header->size);
	seed_save(&seed, "llview_dump", name, "manifest");
}

static void take_formats(const struct gs_fat *fat, const char *name)
{
	static const uint8_t values[64] = { 1, 2, 3, [15] = 0x80, [16] = 'a', 'b', 0xc3, 0xa4 };
	char number[16];

	for (uint32_t i = 0; i < fat->header->formats.count; i++) {
		const char *text = fat_string(fat, fat->formats[i].format);
		struct seed seed = {};

		seed_add(&seed, text, strlen(text) + 1);
		seed_add(&seed, values, sizeof(values));
		snprintf(number, sizeof(number), "%u", i);
		seed_save(&seed, "engine_format", name, number);
	}
}

static void ignore(void *arg, const struct gs_record *record)
{
	(void)arg;
	(void)record;
}

// The formats, then the buffer as the run left it, cut behind a record.
static void take_records(const struct gs_detector *detector, const char *name, const char *what)
{
	const struct gs_fat *fat = detector->loaded->fat;
	uint8_t count =
		fat->header->formats.count < MAX_FORMATS ? fat->header->formats.count : MAX_FORMATS;
	struct seed seed = {};
	size_t used = 0;

	seed_add(&seed, &count, 1);
	for (uint32_t i = 0; i < count; i++) {
		const char *text = fat_string(fat, fat->formats[i].format);
		uint8_t kind = fat->formats[i].kind - 1;

		seed_add(&seed, &kind, 1);
		seed_add(&seed, text, strlen(text) + 1);
	}
	while (used < detector->ctx->out_used) {
		const struct gs_record_header *header = (const void *)(detector->out + used);

		if (!header->size || used + header->size > MAX_RECORDS)
			break;
		used += header->size;
	}
	seed_add(&seed, detector->out, used);
	seed_save(&seed, "engine_records", name, what);
}

static void run(const struct gs_fat *fat, struct gs_kernel *kernel, const char *name)
{
	struct gs_detector_options options = { .size = sizeof(options) };
	struct gs_engine *engine;

	seed_check(gs_engine_create("cpu", kernel, &engine));
	for (size_t i = 0; i < gs_fat_detector_count(fat); i++) {
		struct gs_detector *detector;
		struct gs_detector_info info;

		gs_fat_detector_info(fat, i, &info);
		seed_check(gs_engine_add(engine, (struct gs_fat *)fat, i, &options, &detector));
		gs_error_destroy(gs_detector_run(detector, ignore, NULL));
		take_records(detector, name, info.name);
	}
	gs_engine_destroy(engine);
}

void seed_detector(const char *path, struct gs_kernel *kernel, const char *name)
{
	struct gs_detector_info info;
	struct gs_fat *fat;

	seed_check(gs_fat_open(path, &fat));
	gs_fat_detector_info(fat, 0, &info);
	if (kernel) {
		run(fat, kernel, name);
	} else {
		take_manifest(fat, info.name);
		take_formats(fat, info.name);
	}
	gs_fat_close(fat);
}
