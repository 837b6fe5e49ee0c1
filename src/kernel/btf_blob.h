/* SPDX-License-Identifier: Apache-2.0 */
// From a BTF blob to libbpf's struct btf, which takes much on trust: the blob is checked first.
#ifndef GS_KERNEL_BTF_BLOB_H
#define GS_KERNEL_BTF_BLOB_H

#include <stddef.h>

#include <gpusentinel/error.h>

struct btf;

// Afterwards every record lies in the type section, is of a known kind, and each id and name offset
// in it is in range. libbpf keeps a copy of its own; end with btf__free().
struct gs_error *btf_blob_parse(const void *data, size_t size, struct btf **ret);

#endif
