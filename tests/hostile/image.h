/* SPDX-License-Identifier: Apache-2.0 */
// A memory image that can be changed under a target's feet, and a map of where its structures lie.
#ifndef TESTS_HOSTILE_IMAGE_H
#define TESTS_HOSTILE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

// What a mutation aims at.
enum image_region {
	REGION_NOTE,
	REGION_PAGE_TABLES,
	REGION_KALLSYMS,
	REGION_BTF,
	REGION_LISTS,
	REGION_LOG,
	REGION_ANYWHERE,
	REGION_COUNT,
};

struct gs_kernel;
struct gs_target;

extern const char *const image_region_names[REGION_COUNT];

// A range of the image's bytes.
struct image_range {
	uint8_t *bytes;
	uint64_t size;
};

struct image {
	// "core:/proc/self/fd/N"
	char spec[64];
	int fd;
	uint8_t *bytes;
	uint64_t size;
	struct image_range *ranges[REGION_COUNT];
	size_t count[REGION_COUNT];
	// The unchanged image, open.
	struct gs_target *target;
	struct gs_kernel *kernel;
	// Offset in the file of the byte that the target maps at anchor_host.
	const uint8_t *anchor_host;
	uint64_t anchor_offset;
	// Address of each task's list head, task_struct.tasks; the first is init_task's.
	uint64_t *tasks;
	size_t task_count;
	// Kernel addresses that are worth putting where other pointers were.
	uint64_t *pointers;
	size_t pointer_count;
};

// Copy the ELF core at @path into memory and find its structures; ends the program with a line if that fails.
void image_load(struct image *image, const char *path);

// The image's byte for a kernel virtual or a physical address; NULL if it has none.
uint8_t *image_virtual(struct image *image, uint64_t address);
uint8_t *image_physical(struct image *image, uint64_t phys);

// An address that VMCOREINFO gives, "SYMBOL(name)=": kallsyms' tables are not in kallsyms.
uint64_t image_note_symbol(struct image *image, const char *name);

#endif
