// SPDX-License-Identifier: Apache-2.0
// Fat detectors: the ELF file, or (input that does not begin as one) a manifest alone, which is put into
// one. What is accepted is also resolved, against a kernel that has nothing, and described.
#include <stdlib.h>
#include <string.h>

#include "engine/fat.h"
#include "engine/resolve.h"
#include "fat_image.h"
#include "kernel/btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gs_error *no_symbols(void *arg, struct gs_symbol_query *queries, size_t count)
{
	(void)arg;
	(void)queries;
	(void)count;
	return NULL;
}

// BTF with the header and an empty string section only.
static struct types *no_types(void)
{
	static const uint8_t blob[] = {
		0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
	};
	struct types *types = NULL;

	gs_error_destroy(types_create(blob, sizeof(blob), &types));
	return types;
}

static void use(const struct gs_fat *fat, const struct types *types)
{
	uint64_t *slots = calloc(fat->header->slots.count + 1, sizeof(*slots));
	struct resolve_source source = { .release = "fuzz",
					 .types = types,
					 .find_symbols = no_symbols };
	volatile size_t sum = 0;

	if (slots && types)
		gs_error_destroy(resolve_slots(fat, "fuzz", &source, slots));
	free(slots);
	for (size_t i = 0; i < gs_fat_detector_count(fat); i++) {
		struct gs_detector_info info;

		gs_fat_detector_info(fat, i, &info);
		sum += strlen(info.name) + strlen(info.description) + info.ptx_size;
	}
	for (uint32_t i = 0; i < fat->header->sites.count; i++) {
		char site[256];

		fat_site_name(fat, i, true, site, sizeof(site));
		sum += strlen(site);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct types *types;
	size_t image_size;
	uint8_t *image = fat_image_input(data, size, &image_size);
	struct gs_fat *fat = NULL;

	if (!types)
		types = no_types();
	if (!image)
		return 0;

	struct gs_error *err = fat_create_take("fuzz.so", image, image_size, &fat);

	if (err)
		gs_error_destroy(err);
	else
		use(fat, types);
	gs_fat_close(fat);
	return 0;
}
