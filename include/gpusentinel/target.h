/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Targets: where memory comes from.
 *
 * A target is a sorted list of segments that map physical addresses of the watched machine to bytes in
 * this process, read-only. Nothing else about it is visible to the layers above.
 *
 * Holes stay holes. A page of a guest's RAM file that the guest never touched must not be read through
 * the mapping: the read would allocate it in the file (tmpfs, memfd). Each segment therefore has a bitmap of
 * pages known to be present; whoever reads a page whose bit is clear first asks gs_target_fault().
 */
#ifndef GPUSENTINEL_TARGET_H
#define GPUSENTINEL_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** Pages are 4 KiB in the presence bitmap, whatever the host or the guest uses. */
#define GS_PAGE_SHIFT 12
#define GS_PAGE_SIZE (UINT64_C(1) << GS_PAGE_SHIFT)

/** One range of physical memory. Segments are sorted by @ref phys and do not overlap. */
struct gs_segment {
	/** First physical address; a multiple of GS_PAGE_SIZE. */
	uint64_t phys;
	/** Bytes; a multiple of GS_PAGE_SIZE. */
	uint64_t size;
	/** Where @ref phys is mapped in this process, read-only. Need not be page-aligned (ELF cores). */
	const uint8_t *host;
	/**
	 * One bit a page, bit N%64 of word N/64, set if page N may be read through @ref host now. A bit
	 * that is set stays set. Read it with __ATOMIC_ACQUIRE.
	 */
	uint64_t *present;
};

struct gs_target;

/** How a target is opened; zero-initialise, then set @ref size. */
struct gs_target_options {
	/** sizeof(struct gs_target_options), so that the structure can grow. */
	size_t size;
	/** For raw images: "PHYS:SIZE[@OFFSET][,...]" as numbers of bytes in C notation; K, M, G suffixes. NULL: none. */
	const char *layout;
};

/**
 * Open a target.
 *
 * @param spec `qemu:NAME` (a guest of the lab), `qemu:/path/to/qmp.sock`, `core:FILE`, or `host`: this machine, by
 *             the module in kmod/.
 * @return GS_ERROR_TARGET with one line that says what is wrong and what to do; GS_ERROR_USAGE for an unknown scheme.
 */
struct gs_error *gs_target_open(const char *spec, const struct gs_target_options *options,
				struct gs_target **ret);

/** Close a target: unmaps the memory. NULL is allowed. */
void gs_target_close(struct gs_target *target);

/** The specification that it was opened with. */
const char *gs_target_spec(const struct gs_target *target);

/** True if the memory does not change any more (a core): a copy of it is as good. */
bool gs_target_frozen(const struct gs_target *target);

/**
 * True if the memory is mapped as page frames (VM_PFNMAP) and not as pages: this machine's own. A GPU registers
 * it with CU_MEMHOSTREGISTER_IOMEMORY, and reads it by physical addresses.
 */
bool gs_target_io_memory(const struct gs_target *target);

/** Physical address of the kernel's VMCOREINFO note, if the target knows it. @return false: search for it. */
bool gs_target_note(const struct gs_target *target, uint64_t *ret);

/** The segments; they live as long as the target. */
const struct gs_segment *gs_target_segments(const struct gs_target *target, size_t *count_ret);

/**
 * Make page @p page of segment @p index readable if it has contents now.
 *
 * For a RAM file this asks the file system whether the page is a hole (SEEK_DATA); for a compressed core
 * it decompresses the page into place. Thread-safe.
 *
 * @return true and the bit in `present` is set, or false: the page is a hole, read it as zeroes.
 */
bool gs_target_fault(struct gs_target *target, size_t index, uint64_t page);

/**
 * Address of @p size bytes of physical memory from @p phys on, all present, all in one segment; NULL
 * if any of it is absent.
 */
const void *gs_target_map(struct gs_target *target, uint64_t phys, uint64_t size);

/**
 * Copy physical memory. Pages that are holes read as zeroes.
 * @return GS_ERROR_TARGET with the address where memory ends.
 */
struct gs_error *gs_target_read(struct gs_target *target, uint64_t phys, void *buf, uint64_t size);

/**
 * The next page at or after @p phys that has contents.
 * @return true and its physical address in @p ret, or false: no further page.
 */
bool gs_target_next_present(struct gs_target *target, uint64_t phys, uint64_t *ret);

/**
 * Ask which pages are holes in the whole target; @return number of present pages. Opening does not: a
 * reader asks for the pages that it touches, which are few.
 */
uint64_t gs_target_scan(struct gs_target *target);

#endif
