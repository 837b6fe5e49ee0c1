/* SPDX-License-Identifier: Apache-2.0 */
// VMCOREINFO: the note in which a kernel describes itself to crash dump tools
// (Documentation/admin-guide/kdump/vmcoreinfo.rst).
#ifndef GS_KERNEL_VMCOREINFO_H
#define GS_KERNEL_VMCOREINFO_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/target.h>

struct vmcoreinfo {
	// Physical address of the note header.
	uint64_t phys;
	// Bytes of text.
	uint32_t size;
	// Lines NAME=VALUE. VMCOREINFO_BYTES is one page.
	char text[4096 + 1];
	// Of OSRELEASE, printable.
	char release[65];
};

// Notes are sought chunk by chunk, from both ends of memory in turn: the page comes from an early
// allocation at boot, which Linux serves from the top of memory or from just above the first
// megabytes.
struct vmcoreinfo_search {
	struct gs_target *target;
	uint64_t chunk, chunks;
	// Where to go on in the current chunk.
	uint64_t next;
	// The note that the target knows has been looked at.
	bool told;
};

void vmcoreinfo_search_init(struct vmcoreinfo_search *search, struct gs_target *target);

// The next page that begins with a VMCOREINFO note, header and text included. Copies of the bare
// text, of which memory has several, are passed over.
bool vmcoreinfo_search_next(struct vmcoreinfo_search *search, struct vmcoreinfo *ret);

// Check and copy the note in [data, data + size). False if it is none.
bool vmcoreinfo_parse(const void *data, size_t size, struct vmcoreinfo *ret);

// SYMBOL(name)=hex, NUMBER(name)=decimal or 0xhex, SIZE(name)=decimal; name=hex.
bool vmcoreinfo_symbol(const struct vmcoreinfo *info, const char *name, uint64_t *ret);
bool vmcoreinfo_number(const struct vmcoreinfo *info, const char *name, int64_t *ret);
bool vmcoreinfo_sizeof(const struct vmcoreinfo *info, const char *name, uint64_t *ret);
bool vmcoreinfo_hex(const struct vmcoreinfo *info, const char *name, uint64_t *ret);

#endif
