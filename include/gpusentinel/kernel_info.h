/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the memory of a Linux kernel says about itself: VMCOREINFO, page tables, symbols, types.
 *
 * Nothing from outside is needed: no System.map, no debug information, no headers (D5).
 * All addresses are virtual addresses of the watched kernel unless they are called physical.
 */
#ifndef GPUSENTINEL_KERNEL_INFO_H
#define GPUSENTINEL_KERNEL_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/map.h>
#include <gpusentinel/target.h>

struct btf;
struct gs_kernel;

/** Zero-initialise, then set @ref size. */
struct gs_kernel_options {
	/** sizeof(struct gs_kernel_options). */
	size_t size;
	/** Path of a System.map for a kernel built without kallsyms; NULL: none. Its addresses are moved by the KASLR offset. */
	const char *system_map;
};

/**
 * Find and understand the kernel in @p target: the VMCOREINFO note, the page-table root, the symbols.
 * Types are read on the first gs_kernel_btf().
 *
 * @return GS_ERROR_KERNEL with one line: what was not found, where it was looked for, what to do.
 */
struct gs_error *gs_kernel_open(struct gs_target *target, const struct gs_kernel_options *options,
				struct gs_kernel **ret);

/** End it; NULL is allowed. The target stays open. */
void gs_kernel_close(struct gs_kernel *kernel);

struct gs_target *gs_kernel_target(struct gs_kernel *kernel);

/** Release string as in `uname -r`, from VMCOREINFO's OSRELEASE. */
const char *gs_kernel_release(const struct gs_kernel *kernel);

/** Everything that address translation needs, as detectors use it too; see map.h. */
const struct gs_map *gs_kernel_map(const struct gs_kernel *kernel);

/** Facts that `gpusentinel info` shows. */
struct gs_kernel_facts {
	/** Physical address of the VMCOREINFO note. */
	uint64_t note_phys;
	/** Length of its text in bytes. */
	uint32_t note_size;
	/** Bytes by which KASLR moved the kernel image's virtual addresses. */
	uint64_t kaslr_offset;
	/** How kallsyms stores addresses: "absolute", "relative", "absolute-percpu", "place-relative"; "System.map". */
	const char *kallsyms_encoding;
	/** True if VMCOREINFO names the kallsyms tables, false if they were found by their structure. */
	bool kallsyms_named;
	/** Number of symbols. */
	uint32_t symbols;
	/** Size of the BTF blob in bytes; 0: the kernel has none. */
	uint32_t btf_size;
	/** Bases of the virtual memory map; the defaults of x86-64 if the kernel has no variables for them. */
	uint64_t page_offset_base, vmalloc_base, vmemmap_base;
	/** Number of possible CPUs for which a per-CPU area exists. */
	uint32_t cpus;
};

void gs_kernel_facts(const struct gs_kernel *kernel, struct gs_kernel_facts *ret);

/** A symbol to look up, and the result. */
struct gs_symbol_query {
	/** Name as in /proc/kallsyms. */
	const char *name;
	/** Found address; per-CPU symbols give their offset within a per-CPU area if @ref percpu. */
	uint64_t address;
	/** Bytes to the next symbol of the kernel image; 0 if unknown. */
	uint64_t size;
	bool found;
	/** True if the address is an offset into per-CPU areas rather than an address. */
	bool percpu;
};

/**
 * Look up many symbols in one pass over the compressed table (a pass takes a few milliseconds, so
 * ask for all at once).  Of symbols that share a name the first (lowest in the table) is given.
 */
struct gs_error *gs_kernel_find_symbols(struct gs_kernel *kernel, struct gs_symbol_query *queries,
					size_t count);

/**
 * Look up one symbol; for a per-CPU variable @p ret is its offset, as in gs_symbol_query.
 * @return GS_ERROR_KERNEL "no symbol NAME" if absent.
 */
struct gs_error *gs_kernel_find_symbol(struct gs_kernel *kernel, const char *name, uint64_t *ret);

/** A kernel module in the target. */
struct gs_module {
	char name[64];
	/** Where its text begins and how long it is. */
	uint64_t text, text_size;
	/** Address of its struct module. */
	uint64_t address;
};

/**
 * List the loaded modules from the kernel's `modules` list (bounded: a list that does not end is
 * GS_ERROR_INCOMPLETE with what was found delivered). The caller frees @p ret with free().
 */
struct gs_error *gs_kernel_modules(struct gs_kernel *kernel, struct gs_module **ret,
				   size_t *count_ret);

/**
 * Name the address, as the kernel's %pS does: "schedule+0x45/0x120" or "ext4_sync_fs+0x1c/0x2f0 [ext4]".
 * Writes at most @p len bytes with the final NUL; an address outside all symbols is written as 0x....
 * The first call decodes the whole table.
 */
void gs_kernel_symbolize(struct gs_kernel *kernel, uint64_t address, char *buf, size_t len);

/**
 * Call @p fn for each symbol of the kernel image in table order until it returns false.
 * @p type is the character of /proc/kallsyms.
 */
struct gs_error *gs_kernel_for_each_symbol(struct gs_kernel *kernel,
					   bool (*fn)(void *arg, const char *name, char type,
						      uint64_t address),
					   void *arg);

/**
 * The kernel's types; owned by @p kernel. The contents were read from hostile memory: every type id
 * and string offset taken from it must be checked (btf__type_by_id() gives NULL for bad ones).
 * @return GS_ERROR_KERNEL if the kernel has no BTF or it is damaged.
 */
struct gs_error *gs_kernel_btf(struct gs_kernel *kernel, struct btf **ret);

/** Translate a kernel virtual address. @return GS_ERROR_KERNEL with the address and the level that failed. */
struct gs_error *gs_kernel_translate(struct gs_kernel *kernel, uint64_t address,
				     uint64_t *phys_ret);

/** Copy kernel virtual memory; fails if any page of it is not mapped. */
struct gs_error *gs_kernel_read(struct gs_kernel *kernel, uint64_t address, void *buf,
				uint64_t size);

/** Copy a NUL-terminated string, clamped to @p len bytes with the NUL. */
struct gs_error *gs_kernel_read_string(struct gs_kernel *kernel, uint64_t address, char *buf,
				       size_t len);

#endif
