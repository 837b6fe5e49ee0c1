/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The device runtime: what llview links into every detector. See <gpusentinel/ctx.h> for the
 * contract.
 *
 * Freestanding, without global state: everything is in the context and in what its block shares, so
 * that any number of detectors, threads and targets can share one copy of the code. Compiled to LLVM bitcode for
 * x86-64 and nvptx64.
 */
#ifndef GS_DEVICE_RT_H
#define GS_DEVICE_RT_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/ctx.h>

// What a block shares lies in its shared memory on a GPU (PTX ISA 8.5, 5.1.7).
#ifdef __NVPTX__
#define GS_SHARED __attribute__((address_space(3)))
// Threads of a warp wait for each other in it: calls of it are not to be moved into branches.
#define GS_CONVERGENT __attribute__((noinline, convergent))
#else
#define GS_SHARED
#define GS_CONVERGENT __attribute__((noinline))
#endif

#define GS_RT_PAGE_SHIFT 12
#define GS_RT_PAGE_SIZE (UINT64_C(1) << GS_RT_PAGE_SHIFT)
#define GS_RT_PAGE_MASK (GS_RT_PAGE_SIZE - 1)
/** A stretch that is present as a whole and linear is one entry of the TLB. */
#define GS_RT_STRETCH_SHIFT 21
#define GS_RT_STRETCH_SIZE (UINT64_C(1) << GS_RT_STRETCH_SHIFT)
#define GS_RT_STRETCH_MASK (GS_RT_STRETCH_SIZE - 1)

/** What the threads of this one's block share. */
struct gs_block GS_SHARED *gs_rt_block(struct gs_ctx *ctx);

/** Load from kernel memory; 0 if @p address cannot be translated (counted once for each load). */
uint8_t gs_rt_load8(struct gs_ctx *ctx, uint64_t address);
uint16_t gs_rt_load16(struct gs_ctx *ctx, uint64_t address);
uint32_t gs_rt_load32(struct gs_ctx *ctx, uint64_t address);
uint64_t gs_rt_load64(struct gs_ctx *ctx, uint64_t address);

/** A load that llview could not do early. */
uint8_t gs_rt_again8(struct gs_ctx *ctx, uint64_t address);
uint16_t gs_rt_again16(struct gs_ctx *ctx, uint64_t address);
uint32_t gs_rt_again32(struct gs_ctx *ctx, uint64_t address);
uint64_t gs_rt_again64(struct gs_ctx *ctx, uint64_t address);

/** A load that is done behind all loads before it and before all behind it: READ_ONCE(). */
uint8_t gs_rt_once8(struct gs_ctx *ctx, uint64_t address);
uint16_t gs_rt_once16(struct gs_ctx *ctx, uint64_t address);
uint32_t gs_rt_once32(struct gs_ctx *ctx, uint64_t address);
uint64_t gs_rt_once64(struct gs_ctx *ctx, uint64_t address);

/** A stretch of kernel memory that is one piece in the engine's address space as well. */
struct gs_window {
	/** Its first kernel address; without a stretch, 0. */
	uint64_t first;
	/** Bits that its addresses have in common; without a stretch, all. */
	uint64_t mask;
	/** The engine's addresses minus the kernel's; without a stretch, 0. */
	uint64_t delta;
};

/** The stretch around @p address; none if it cannot be read or is no kernel address. */
void gs_rt_window(struct gs_ctx *ctx, uint64_t address, struct gs_window *window);

/**
 * Engine address of @p size bytes (1, 2, 4, 8 or a multiple of 8) at @p address, which are likely in
 * @p window; 0 if they are not readable as one aligned piece, or @p address is no kernel address.
 * Counts nothing but page-table walks.
 */
uint64_t gs_rt_place(struct gs_ctx *ctx, const struct gs_window *window, uint64_t address,
		     uint64_t size);

/** The same without a window. */
uint64_t gs_rt_translate(struct gs_ctx *ctx, uint64_t address, uint64_t size);

/** Load from what gs_rt_place() returned; 0 if that is 0. */
uint8_t gs_rt_read8(struct gs_ctx *ctx, uint64_t place);
uint16_t gs_rt_read16(struct gs_ctx *ctx, uint64_t place);
uint32_t gs_rt_read32(struct gs_ctx *ctx, uint64_t place);
uint64_t gs_rt_read64(struct gs_ctx *ctx, uint64_t place);
/**
 * Two words from what gs_rt_place() returned for them, or 0. Of an address that is a multiple of 16: they go as one request.
 */
void gs_rt_read_pair(struct gs_ctx *ctx, uint64_t place, uint64_t pair[2]);

/** Loads that miss the TLB, cross a page or are misaligned on a GPU. @p size is 1, 2, 4 or 8. */
uint64_t gs_rt_load_slow(struct gs_ctx *ctx, uint64_t address, uint32_t size);

/**
 * Copy @p size bytes of kernel memory to local memory. Bytes that cannot be read become 0; each
 * page that fails is counted once.
 */
void gs_rt_copy(struct gs_ctx *ctx, void *local, uint64_t address, uint64_t size);

/**
 * Where the page that holds @p address begins in the engine's address space; 0 if it cannot be
 * read. Counts nothing but page-table walks.
 */
uint64_t gs_rt_page(struct gs_ctx *ctx, uint64_t address);

/** Where the stretch that holds @p address begins, if the TLB has it; else 0. */
uint64_t gs_rt_stretch(struct gs_ctx *ctx, uint64_t address);

/** The same for the page with the physical address @p phys. */
uint64_t gs_rt_phys_page(struct gs_ctx *ctx, uint64_t phys);

/** Count a load that failed. */
void gs_rt_fault(struct gs_ctx *ctx, uint64_t address);

/** Start of a run: forgets the results and the translations of the run before. All threads of the block call it. */
void gs_rt_begin_run(struct gs_ctx *ctx);
/** The thread's run is over: it is counted out of all collectives. */
void gs_rt_end_run(struct gs_ctx *ctx);

/**
 * A thread's own context, from the one that the engine wrote. On the host its `block` and `thread_index` are the
 * caller's.
 */
void gs_rt_copy_context(struct gs_ctx *ctx, struct gs_ctx *shared);
/** The same, and gs_rt_begin_run(). */
void gs_rt_enter(struct gs_ctx *ctx, struct gs_ctx *shared);
/** gs_rt_end_run(), and what the thread found goes where its context came from. */
void gs_rt_leave(struct gs_ctx *ctx);

/** All threads of the block wait for each other; none may have left. Orders all memory between them. */
void gs_rt_block_meet(struct gs_ctx *ctx);
/** No collective has begun. One thread calls it while no other can arrive at one. */
void gs_rt_block_reset(struct gs_ctx *ctx);
/** Empty TLBs and a copy of the map: all threads of the block, each its share. */
void gs_rt_block_load(struct gs_ctx *ctx);

/** Several threads write records: each into chunks of its own. */
bool gs_rt_in_chunks(const struct gs_ctx *ctx);
/**
 * A new chunk in which @p bytes fit behind what there is of the record under construction, which moves there.
 * @return false if there are no chunks, or there is no room.
 */
bool gs_rt_grow(struct gs_ctx *ctx, uint32_t bytes);
/** On each loop back edge. @return false if the budget is gone: the caller returns. */
bool gs_rt_edge(struct gs_ctx *ctx, uint32_t site);
/** Before an early return; the first reason of a run is kept. */
void gs_rt_stop(struct gs_ctx *ctx, uint32_t reason, uint32_t site);

/** Start a record of @p nargs items; one that does not fit in the buffer is counted as lost by
 * gs_rt_end(). */
void gs_rt_begin(struct gs_ctx *ctx, uint32_t kind, uint32_t severity, uint32_t format,
		 uint32_t nargs);
void gs_rt_arg(struct gs_ctx *ctx, uint64_t value);
/** A string in kernel memory: up to its NUL, at most @p max bytes and GS_RECORD_MAX_STRING. */
void gs_rt_arg_str(struct gs_ctx *ctx, uint64_t address, uint64_t max);
/** A string in local memory, of which @p max bytes may be read. */
void gs_rt_arg_str_local(struct gs_ctx *ctx, const char *s, uint64_t max);
void gs_rt_end(struct gs_ctx *ctx);
/**
 * Records of which it is known that they take at most @p size bytes with their header: the first item's address, or 0
 * if there is no room, which is counted.
 */
uint64_t gs_rt_open(struct gs_ctx *ctx, uint32_t size);
uint64_t gs_rt_open_slow(struct gs_ctx *ctx, uint32_t size);
/** A string as the item at @p at, at most @p max bytes. @return the address of the next item. */
uint64_t gs_rt_put_str(struct gs_ctx *ctx, uint64_t at, uint64_t address, uint64_t max);
uint64_t gs_rt_put_str_local(struct gs_ctx *ctx, uint64_t at, const char *s, uint64_t max);
/** The same from whole words, as many as hold @p max bytes. */
uint64_t gs_rt_put_words(struct gs_ctx *ctx, uint64_t at, const uint64_t *words, uint64_t max);
/**
 * The record ends before @p at. @p what: its kind, and 2^16 times the number of items; @p which: its format, and 2^32
 * times the severity.
 */
void gs_rt_close(struct gs_ctx *ctx, uint64_t at, uint64_t what, uint64_t which);

/** The record under construction does not fit. */
void gs_rt_lose(struct gs_ctx *ctx);

struct gs_control;

/**
 * Wait until the next run is due, and prepare the thread's context for it. All threads of all blocks call it, and
 * gs_rt_loop_end() after a run.
 * @return enum gs_loop_go
 */
uint32_t gs_rt_loop_begin(struct gs_ctx *ctx, struct gs_ctx *shared, struct gs_control *control);
/** Publish what the run found. */
void gs_rt_loop_end(struct gs_ctx *ctx, struct gs_control *control);
/** All threads of all blocks wait for each other. */
void gs_rt_meet(struct gs_ctx *ctx, struct gs_control *control);
/** Put the records of all threads into the mailbox: all call it. */
void gs_rt_publish(struct gs_ctx *ctx, struct gs_control *control);

uint64_t gs_rt_now(struct gs_ctx *ctx);
uint64_t gs_rt_run(struct gs_ctx *ctx);
uint32_t gs_rt_thread_index(struct gs_ctx *ctx);
uint32_t gs_rt_thread_count(struct gs_ctx *ctx);
uint32_t gs_rt_block_index(struct gs_ctx *ctx);
uint32_t gs_rt_block_count(struct gs_ctx *ctx);
uint32_t gs_rt_block_thread_index(struct gs_ctx *ctx);
uint32_t gs_rt_block_thread_count(struct gs_ctx *ctx);

/** Collectives of a block: see detector.h. */
void gs_rt_block_barrier(struct gs_ctx *ctx);
uint64_t gs_rt_block_sum(struct gs_ctx *ctx, uint64_t value);
uint64_t gs_rt_block_min(struct gs_ctx *ctx, uint64_t value);
uint64_t gs_rt_block_max(struct gs_ctx *ctx, uint64_t value);
uint32_t gs_rt_block_any(struct gs_ctx *ctx, uint32_t value);

/** Whole pages of 4 KiB in all segments, and the kernel's address of one of them; NULL if it cannot be read. */
uint64_t gs_rt_ram_pages(struct gs_ctx *ctx);
const void *gs_rt_ram_page(struct gs_ctx *ctx, uint64_t index);

#endif
