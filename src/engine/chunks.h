/* SPDX-License-Identifier: Apache-2.0 */
// Records of a detector with many threads: out of the chunks in which they were written, and into an order
// that does not depend on which thread was first.
#ifndef GS_ENGINE_CHUNKS_H
#define GS_ENGINE_CHUNKS_H

#include <stddef.h>

#include <gpusentinel/error.h>

// Put the records of the chunks in @used bytes at @out (struct gs_chunk) one behind the other. Nothing in the headers
// is trusted; at the first one that cannot be, what follows is left out. @return bytes of records.
size_t gs_chunks_compact(void *out, size_t used);

// Sort the records in @size bytes at @out by format, then by the words of their items as numbers. What follows a record
// whose size is wrong stays where it is.
struct gs_error *gs_records_sort(void *out, size_t size);

#endif
