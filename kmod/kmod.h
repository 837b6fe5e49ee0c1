/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KMOD_H
#define KMOD_H

#include <linux/fs.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/types.h>

#include "gpusentinel.h"

/* VMCOREINFO is a page at most, with what its note adds. */
#define VMCOREINFO_MAX 4096

/* What the running kernel says of itself; -ENODATA if it has no VMCOREINFO. */
int gs_vmcoreinfo_read(phys_addr_t *note, char *text, size_t capacity, size_t *size);

/* The number behind "KEY=", hexadecimal; 0 if it is not there. */
u64 gs_vmcoreinfo_number(const char *text, const char *key);

/* The ranges of RAM; *count may be more than the capacity. Memory must not go offline meanwhile. */
int gs_ram_list(struct gpusentinel_range *ranges, u32 capacity, u32 *count);

/* System RAM as one range: what may be mapped. */
bool gs_ram_covers(u64 start, u64 size);

extern const struct vm_operations_struct gs_ram_vm_ops;

#endif
