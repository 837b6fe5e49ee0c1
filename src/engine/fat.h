/* SPDX-License-Identifier: Apache-2.0 */
// A fat detector in memory: the file's bytes and its checked manifest (gpusentinel/fat.h).
//
// Every index, offset and string of the manifest has been checked when a struct gs_fat exists.
#ifndef GS_ENGINE_FAT_H
#define GS_ENGINE_FAT_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/engine.h>
#include <gpusentinel/fat.h>

struct format;

struct gs_fat {
	char *path;
	// The whole file: what was checked is what gets loaded, whatever happens to the file
	// meanwhile.
	uint8_t *image;
	size_t image_size;
	// Aligned copy of the manifest, and its tables.
	uint8_t *manifest;
	const struct gs_fat_header *header;
	const struct gs_fat_detector *detectors;
	const struct gs_fat_slot *slots;
	const struct gs_fat_format *formats;
	const struct gs_fat_site *sites;
	const char *strings;
	// In image; NULL: none. The size does not count the final NUL.
	const char *ptx;
	size_t ptx_size;
	// One for each format.
	struct format **parsed;
	uint32_t fields, symbols, params;
};

// As gs_fat_open() from memory. Takes @image (from malloc()), also if it fails.
struct gs_error *fat_create_take(const char *path, uint8_t *image, size_t size,
				 struct gs_fat **ret);

// A string of the manifest.
static inline const char *fat_string(const struct gs_fat *fat, uint32_t offset)
{
	return fat->strings + offset;
}

// Index of the slot of parameter number @index; the number of slots if there is none.
uint32_t fat_param_slot(const struct gs_fat *fat, size_t index);
// The slot of a parameter; false if there is none of that name.
bool fat_find_param(const struct gs_fat *fat, const char *name, uint32_t *slot_ret);

// "file:line:column", without what is not known.
void fat_site_name(const struct gs_fat *fat, uint32_t site, bool column, char *buf, size_t len);

#endif
