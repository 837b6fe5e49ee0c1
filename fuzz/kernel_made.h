/* SPDX-License-Identifier: Apache-2.0 */
// A small kernel in memory with everything that src/kernel looks at.
#ifndef FUZZ_KERNEL_MADE_H
#define FUZZ_KERNEL_MADE_H

#include <stddef.h>
#include <stdint.h>

#define MADE_TEXT UINT64_C(0xffffffff81000000)

enum {
	// Encodings of kallsyms, named in the note or not.
	MADE_KERNELS = 4,
	MADE_AREAS = 6,
};

struct gs_target;

struct made_kernel {
	struct gs_target *target;
	// What of its memory is not noise or zeroes.
	struct {
		uint8_t *bytes;
		size_t size;
	} areas[MADE_AREAS];
	size_t area_count, size;
};

void made_kernel_init(struct made_kernel *made, unsigned int which);

// Byte @position (any number) of all areas together; @size is cut to what its area still has.
uint8_t *made_kernel_byte(const struct made_kernel *made, size_t position, size_t *size);

#endif
