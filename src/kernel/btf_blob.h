/* SPDX-License-Identifier: Apache-2.0 */
// The raw BTF blob: checked once, so that its records can be used as they lie.
#ifndef GS_KERNEL_BTF_BLOB_H
#define GS_KERNEL_BTF_BLOB_H

#include <linux/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

struct btf_blob {
	void *data;
	size_t size;
	// Type section: where each record begins, by id; entry 0 is unused.
	const uint8_t *types;
	uint32_t types_size;
	uint32_t *offsets;
	uint32_t count;
	// String section; its last byte is NUL.
	const char *strings;
	uint32_t strings_size;
};

// Takes ownership of @data, from malloc(), also if it fails; end with btf_blob_deinit() in both
// cases. Afterwards every record lies in the type section, is of a known kind, and each id and name
// offset in it is in range.
struct gs_error *btf_blob_init(struct btf_blob *blob, void *data, size_t size);
void btf_blob_deinit(struct btf_blob *blob);

// NULL for 0 and for ids out of range.
static inline const struct btf_type *btf_blob_type(const struct btf_blob *blob, uint32_t id)
{
	if (!id || id >= blob->count)
		return NULL;
	return (const struct btf_type *)(blob->types + blob->offsets[id]);
}

static inline const char *btf_blob_string(const struct btf_blob *blob, uint32_t offset)
{
	return offset < blob->strings_size ? blob->strings + offset : "";
}

#endif
