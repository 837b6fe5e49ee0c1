/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Address translation parameters, shared by the host library and the device runtime (both compile this
 * header, for x86-64 and nvptx64 alike): fixed-width members only.
 *
 * A kernel virtual address is translated in this order:
 *   1. direct map:   [direct_base, direct_base + direct_size) -> address - direct_base
 *   2. kernel image: [image_base, image_base + image_size)    -> address - image_base + image_phys
 *   3. everything else: page-table walk from root_phys with `levels` levels; entries are checked for
 *      Present, PS leaves of 1G (PUD) and 2M (PMD), physical addresses masked by phys_mask.
 * The physical address is then looked up in the segments, and the page in the segment's bitmap.
 */
#ifndef GPUSENTINEL_MAP_H
#define GPUSENTINEL_MAP_H

#ifdef __bpf__
#error "detectors include <gpusentinel/detector.h>"
#endif

#include <stdint.h>

/** More segments than any machine has: System RAM of large servers shows some tens of ranges. */
#define GS_MAP_SEGMENTS 1024

/** A range of physical memory as the engine that runs the detector sees it. */
struct gs_map_segment {
	/** First physical address, and the one behind the last. */
	uint64_t phys, end;
	/** Address of the first byte in the address space of the engine (host or GPU). */
	uint64_t base;
	/** Address of the presence bitmap (bit N = page N may be read); 0: all pages may be read. */
	uint64_t present;
};

/** Bits of x86-64 page-table entries that matter here (Intel SDM volume 3, 4.5). */
#define GS_PTE_PRESENT (UINT64_C(1) << 0)
#define GS_PTE_PSE (UINT64_C(1) << 7)
/** Physical address bits 12 to 51; also drops the encryption bit handling of the C-bit to the mask below. */
#define GS_PTE_ADDR UINT64_C(0x000ffffffffff000)

struct gs_map {
	/** Direct map of all physical memory (page_offset_base); direct_size 0: unknown, walk instead. */
	uint64_t direct_base, direct_size;
	/** Kernel image: virtual start and length, physical start. image_size 0: unknown, walk instead. */
	uint64_t image_base, image_size, image_phys;
	/** Physical address of the top-level table (swapper_pg_dir). */
	uint64_t root_phys;
	/** 4 or 5. */
	uint32_t levels;
	/** Number of entries in segments. */
	uint32_t segment_count;
	/** Physical address bits of a page-table entry; excludes sme_me_mask where the kernel has it. */
	uint64_t phys_mask;
	/** Virtual address of the page array (vmemmap) and sizeof(struct page); 0 if unknown. */
	uint64_t vmemmap_base, page_struct_size;
	/** Start of vmalloc space; 0 if unknown. */
	uint64_t vmalloc_base;
	/** Per-CPU areas: address of __per_cpu_offset[], of __per_cpu_start, and number of possible CPUs. */
	uint64_t percpu_offset, percpu_start;
	uint32_t cpus;
	uint32_t pad;
	/** Address of the first segment in the engine's address space, sorted by phys. */
	uint64_t segments;
};

#endif
