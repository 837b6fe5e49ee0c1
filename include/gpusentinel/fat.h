/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The fat detector: the file that llview writes and engines load.
 *
 * An ELF shared object (ET_DYN, EM_X86_64) with
 *   - host code: one exported function gs_run_NAME for each detector (ctx.h),
 *   - the section ".gpusentinel": the manifest below; no ELF relocation applies to it, so that it can be
 *     read without loading the object,
 *   - the section ".gpusentinel.ptx": PTX text for sm_80 and later, NUL-terminated.
 *
 * The manifest is one blob: struct gs_fat_header, then tables. Offsets count bytes from the header's
 * start; names are offsets into the string table, which ends with NUL. Little-endian. Readers check every
 * offset and count: the file is outside input.
 */
#ifndef GPUSENTINEL_FAT_H
#define GPUSENTINEL_FAT_H

#include <stdint.h>

#define GS_FAT_SECTION ".gpusentinel"
#define GS_FAT_PTX_SECTION ".gpusentinel.ptx"
#define GS_FAT_MAGIC "GSFAT\r\n\032"
#define GS_FAT_VERSION 3

/** Threads of a block and blocks of a detector at most, and threads of a warp. */
#define GS_FAT_MAX_THREADS 1024
#define GS_FAT_MAX_BLOCKS 64
#define GS_FAT_WARP 32

/** A table in the manifest. */
struct gs_fat_table {
	/** Bytes from the start of the manifest; a multiple of 8 (strings: any). */
	uint32_t offset;
	/** Entries; bytes for the string table. */
	uint32_t count;
};

struct gs_fat_header {
	char magic[8];
	/** GS_FAT_VERSION */
	uint32_t version;
	/** Bytes of the whole manifest. */
	uint32_t size;
	/** struct gs_fat_detector */
	struct gs_fat_table detectors;
	/** struct gs_fat_slot; a slot's index is its index in the table that gs_ctx.slots points to. */
	struct gs_fat_table slots;
	/** struct gs_fat_format */
	struct gs_fat_table formats;
	/** struct gs_fat_site */
	struct gs_fat_table sites;
	/** struct gs_fat_load, for `llview --dump` */
	struct gs_fat_table loads;
	/** bytes */
	struct gs_fat_table strings;
	/** String: "llview <version>, clang <version>". */
	uint32_t producer;
	uint32_t pad;
};

struct gs_fat_detector {
	/** String: name as in DETECTOR(name, ...). */
	uint32_t name;
	/** String: name of the function in host code and PTX. */
	uint32_t function;
	/** String: one line on what it finds; may be empty. */
	uint32_t description;
	/** Microseconds from the start of one run to the start of the next. */
	uint32_t period_us;
	/** Back edges in one run; 0: the engine's default. */
	uint64_t budget;
	/** Bytes of record buffer that a run may need; 0: the engine's default. */
	uint64_t output;
	/** Index into sites: where it is defined. */
	uint32_t site;
	/** Threads of a block on a GPU: 1, or whole warps up to GS_FAT_MAX_THREADS; and blocks. */
	uint32_t threads, blocks;
	uint32_t pad;
};

/** What a slot holds. The first values are those of enum bpf_core_relo_kind (Linux include/uapi/linux/bpf.h). */
enum gs_slot_kind {
	/** Byte offset of the field (of its storage unit for a bit field) from the start of the root type. */
	GS_SLOT_FIELD_OFFSET = 0,
	/** Bytes of the field (of the storage unit for a bit field). */
	GS_SLOT_FIELD_SIZE = 1,
	/** 1 if the field exists, else 0. */
	GS_SLOT_FIELD_EXISTS = 2,
	/** 1 if the field is signed. */
	GS_SLOT_FIELD_SIGNED = 3,
	/** Left shift that puts the field's top bit into bit 63 after a load of FIELD_SIZE bytes. */
	GS_SLOT_FIELD_LSHIFT = 4,
	/** Right shift that follows. */
	GS_SLOT_FIELD_RSHIFT = 5,
	GS_SLOT_TYPE_ID_TARGET = 7,
	GS_SLOT_TYPE_EXISTS = 8,
	/** sizeof of the type in the target. */
	GS_SLOT_TYPE_SIZE = 9,
	GS_SLOT_ENUMVAL_EXISTS = 10,
	GS_SLOT_ENUMVAL_VALUE = 11,
	GS_SLOT_TYPE_MATCHES = 12,
	/** Address of a kernel symbol (`__ksym`); for a per-CPU symbol what per_cpu_ptr() takes. */
	GS_SLOT_SYMBOL = 64,
	/**
	 * What whoever runs the detector may set (`PARAM`): its default is local_value, its name and, as path, its
	 * description are the author's. The only slots that may change while the detector runs.
	 */
	GS_SLOT_PARAM = 65,
};

/**
 * The target may lack it. A symbol: declared `__weak`; its slot is 0. A field: the detector asks
 * bpf_core_field_exists() for it (or for its type), or reaches it through a `___flavor` type; its slot is GS_SLOT_ABSENT,
 * so that a load through it fails and is counted. Anything else that is absent refuses the detector.
 */
#define GS_SLOT_F_OPTIONAL 1
/** FIELD_OFFSET: the field is loaded as a scalar of local_size bytes; another size in the target refuses the detector. */
#define GS_SLOT_F_SCALAR 2
/** FIELD_OFFSET and others: the field is a bit field in the detector's own types. */
#define GS_SLOT_F_BITFIELD 4

/** Offset of an absent field: takes any kernel address out of the canonical range (bit 62 flips). */
#define GS_SLOT_ABSENT (UINT64_C(1) << 62)

struct gs_fat_slot {
	/** enum gs_slot_kind */
	uint16_t kind;
	/** GS_SLOT_F_* */
	uint16_t flags;
	/** BTF kind of the root type (BTF_KIND_STRUCT, UNION, ENUM, TYPEDEF, INT, ...); 0 for symbols. */
	uint32_t type_kind;
	/** String: name of the root type without `___flavor`, or of the symbol. */
	uint32_t name;
	/**
	 * String: access path from the root: ".se.sum_exec_runtime", ".cpu[3].x", "[2].y" (root as array);
	 * anonymous members do not appear. Enumerator name for ENUMVAL_*. Description of a parameter. Empty for TYPE_* and
	 * symbols.
	 */
	uint32_t path;
	/** Index into sites: first use. */
	uint32_t site;
	/** Size in bytes of the field as the detector sees it; 0 if not known. */
	uint32_t local_size;
	/** Value in the detector's own types, for --dump; default of a parameter. */
	uint64_t local_value;
};

struct gs_fat_format {
	/** String: printf format as written in the source; conversions %d %i %u %x %o %c %s %p %f %e %g with flags, width,
	 *  precision (no '*'), h/l/z/j/t sizes; and %pS: symbol+offset, as the kernel's printk. For metrics the name. */
	uint32_t format;
	/** enum gs_record_kind */
	uint32_t kind;
	/** Index into sites. */
	uint32_t site;
	/** Number of items in the record. More than conversions for metrics, whose value comes first, and alarms (record.h). */
	uint32_t nargs;
};

/** A place in the source. */
struct gs_fat_site {
	/** String: path as given to the compiler. */
	uint32_t file;
	/** String: function. */
	uint32_t function;
	/** 1-based; 0: not known. */
	uint32_t line, column;
};

/** What became of a memory access. */
enum gs_load_kind {
	/** Translated. */
	GS_LOAD_KERNEL = 1,
	/** Left alone: the object is proven to be local. */
	GS_LOAD_LOCAL = 2,
	/** Either: decided at run time by what the pointer was made from, never by its value. */
	GS_LOAD_MIXED = 3,
	/** A copy from kernel to local memory. */
	GS_LOAD_COPY = 4,
	/** A store, proven to go to local memory. */
	GS_LOAD_STORE = 5,
};

struct gs_fat_load {
	/** enum gs_load_kind */
	uint32_t kind;
	/** Bytes; 0: variable. */
	uint32_t size;
	/** Index into sites. */
	uint32_t site;
	/** String: why, e.g. "constant string", "static variable runs", "stack object task", "pointer from memory". */
	uint32_t why;
};

#endif
