/* SPDX-License-Identifier: Apache-2.0 */
// Seeds: small inputs in the form that the targets take, cut out of real kernels and detectors.
#ifndef FUZZ_SEED_H
#define FUZZ_SEED_H

#include <stddef.h>
#include <stdint.h>

struct gs_error;
struct gs_kernel;

// What a seed is built in; ends the program if memory is short.
struct seed {
	uint8_t *bytes;
	size_t size;
};

void seed_add(struct seed *seed, const void *bytes, size_t size);

// Write DIRECTORY/TARGET/NAME and empty the seed.
void seed_save(struct seed *seed, const char *target, const char *name, const char *what);

// End the program with its message, unless it is NULL.
void seed_check(struct gs_error *err);

// Of an open kernel; @name tells kernels apart.
void seed_memory(struct gs_kernel *kernel, const char *name);
void seed_kallsyms(struct gs_kernel *kernel, const char *name);
void seed_types(struct gs_kernel *kernel, const char *name);

// The file at @path, and what its detectors write about @kernel (NULL: nothing).
void seed_detector(const char *path, struct gs_kernel *kernel, const char *name);

// The core at @path, in makedumpfile's flattened format.
void seed_core(const char *path, const char *name);

#endif
