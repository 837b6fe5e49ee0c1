/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The contract of three parties: the engine that runs a detector, the code that llview emits, and the
 * device runtime (device/). Compiled for x86-64 and nvptx64; fixed-width members only, addresses as u64.
 *
 * A detector NAME becomes one function, `void gs_run_NAME(struct gs_ctx *ctx)` in the host code and
 * `.visible .entry gs_run_NAME(.param .u64 ctx)` in the PTX; a call is one run over the target's memory. On the host
 * each thread has its own context; a kernel's threads make theirs from the one that they are given.
 */
#ifndef GPUSENTINEL_CTX_H
#define GPUSENTINEL_CTX_H

#include <stdint.h>

#include <gpusentinel/map.h>
#include <gpusentinel/record.h>

/** Why a run ended early. */
enum gs_stop {
	GS_STOP_NONE = 0,
	/** The back-edge budget ran out: a list that does not end, or a budget that is too small. */
	GS_STOP_BUDGET = 1,
	/** An index left a local array. */
	GS_STOP_BOUNDS = 2,
	/** __builtin_unreachable() or a trap was reached. */
	GS_STOP_TRAP = 3,
};

/** Entries of the two software TLBs, for pages of 4 KiB and for stretches of 2 MiB; powers of two. */
#define GS_TLB_PAGES 256
#define GS_TLB_STRETCHES 512

/**
 * A translation. Direct-mapped by the virtual number of its page or stretch. Threads read an entry while another one
 * replaces it: what does not belong together fails the check. All zero: empty.
 */
struct gs_tlb_entry {
	/** (Last address of the page or stretch, its halves swapped) ^ base. */
	uint64_t check;
	/** Address of its first byte in the engine's address space. */
	uint64_t base;
};

/** Segments that a block keeps a copy of, and threads of a block at most. */
#define GS_BLOCK_SEGMENTS 32
#define GS_BLOCK_THREADS 1024
/** Threads that combine their values among themselves first: a warp, which is also the number of warps at most. */
#define GS_BLOCK_GROUP 32

/** Up to GS_BLOCK_GROUP members of a collective: threads of a warp, or the warps. */
struct gs_group {
	/** Members that have arrived, and 65536 times those that have left for good. */
	uint32_t tally;
	/** Bit N: member N has left. */
	uint32_t left;
};

/**
 * What the threads of one block share; the runtime's own. All zero before the first run. On a GPU it lies in the
 * block's shared memory.
 */
struct gs_block {
	/** Pages of 4 KiB; stretches of 2 MiB, linear and wholly present. */
	struct gs_tlb_entry pages[GS_TLB_PAGES];
	struct gs_tlb_entry stretches[GS_TLB_STRETCHES];
	/** Copy of the map, and of its first segments. */
	struct gs_map map;
	struct gs_map_segment segments[GS_BLOCK_SEGMENTS];
	/** Each thread's value in the collective that is going on, and behind them each warp's. */
	uint64_t values[GS_BLOCK_THREADS + GS_BLOCK_GROUP];
	/** The warps, and the group that they form. */
	struct gs_group groups[GS_BLOCK_GROUP + 1];
	/** What it came to, which operation it is, how many have ended. */
	uint64_t result;
	uint32_t operation, ended;
	/** Threads that came to where all of a block meet, since the start. Host engines only. */
	uint64_t met;
	/** What thread 0 has for the others. */
	uint64_t shared[4];
};

/** Bytes of a chunk, this header included, that a thread takes at a time, unless a record needs more. */
#define GS_CHUNK_SIZE 4096

/**
 * Where several threads write records, `out` is handed out to them in chunks, one behind the other; out_used is the
 * end of the last. In a chunk the records follow this.
 */
struct gs_chunk {
	/** Bytes of the chunk with this header, and of the records in it; multiples of 8. */
	uint32_t size, used;
	/** Offset in `out` of the next chunk of the same thread; 0: none. */
	uint32_t next;
	uint32_t pad;
};

/**
 * State of one running thread of a detector. The engine fills it in up to `shared`, where the thread's own part
 * begins; `out_used` to `stop_site` are results. On a GPU one such structure in device memory is the
 * template of which each thread makes its copy, and receives the results of all.
 */
struct gs_ctx {
	/** Address of the struct gs_map of the target, as this engine sees it. */
	uint64_t map;
	/** Address of the slots, one u64 each, that the loader filled from the fat detector's slot table. */
	uint64_t slots;
	/** Buffer for records, its size in bytes, and how much of it the run has filled. */
	uint64_t out;
	uint32_t out_size, out_used;
	/** Records that did not fit. */
	uint64_t out_lost;
	/** Back edges that a thread has left in this run; the engine sets it before each run. */
	uint64_t budget;
	/** Loads that could not be translated and yielded zero; address of the first one. */
	uint64_t faults, fault_address;
	/** Page-table walks done (TLB misses). */
	uint64_t walks;
	/** enum gs_stop, and the index into the fat detector's site table where it happened. */
	uint32_t stop, stop_site;
	/** Nanoseconds of the engine's monotonic clock at the start of the run. */
	uint64_t now_ns;
	/** Runs before this one. */
	uint64_t run;
	/** Threads of a block, and blocks. */
	uint32_t threads, blocks;
	/**
	 * Address of `uint32_t (*)(uint64_t arg, uint64_t segment, uint64_t page)`: called for a page whose
	 * bit in the segment's presence bitmap is clear; non-zero: it may be read now. 0: such pages fail.
	 * Host engines only.
	 */
	uint64_t fault_fn, fault_arg;
	/** Address of the struct gs_block of this thread's block. Host engines only: a GPU has its own. */
	uint64_t block;
	/** In a thread's copy: address of the context that it was made from. 0: there is no other. */
	uint64_t shared;
	/** This thread among those of all blocks, block by block. */
	uint32_t thread_index;
	/** Segment of the last translation: a hint. */
	uint32_t segment_hint;
	/** Offset in `out` behind the record under construction, which began at `out_used`; 0: none. */
	uint32_t record;
	/** Non-zero: records are written in chunks. */
	uint32_t chunked;
	/** Value of `faults` when the last record was finished, for GS_RECORD_F_FAULT. */
	uint64_t record_faults;
	/**
	 * Where several threads write: address of this one's first chunk and of the one that it fills, 0: none; `out`
	 * to `out_used` are then the part of it behind its header.
	 */
	uint64_t first_chunk, chunk;
	/** How many chunks there are from first_chunk on. */
	uint64_t chunks;
};

/*
 * Calls that llview emits (device/rt.h declares them for the device):
 *
 *   u8/u16/u32/u64 gs_rt_load8/16/32/64(ctx, u64 address)   translate and load; 0 if it fails (counted)
 *   void gs_rt_copy(ctx, void *local, u64 address, u64 n)   kernel to local memory; unreadable bytes become 0
 *   void gs_rt_begin_run(ctx), void gs_rt_end_run(ctx)      around a run on the host: empties the TLB, results
 *   void gs_rt_enter(ctx, shared), void gs_rt_leave(ctx)    the same on a GPU: makes the thread's context; merges
 *   bool gs_rt_edge(ctx, u32 site)                          on each loop back edge; false: budget gone, return
 *   void gs_rt_stop(ctx, u32 reason, u32 site)              before an early return
 *   void gs_rt_begin(ctx, u32 kind, u32 severity, u32 format, u32 nargs)   start a record
 *   void gs_rt_arg(ctx, u64 value)                          next item
 *   void gs_rt_arg_str(ctx, u64 address, u64 max)           next item: string in kernel memory, at most max bytes
 *   void gs_rt_arg_str_local(ctx, const char *s, u64 max)   next item: string in local memory
 *   void gs_rt_end(ctx)                                     finish the record, or count it as lost
 *   u64 gs_rt_now(ctx), u64 gs_rt_run(ctx)
 *   u32 gs_rt_thread_index(ctx), u32 gs_rt_thread_count(ctx), and the same of block, block_thread
 *   void gs_rt_block_barrier(ctx), u64 gs_rt_block_sum/min/max(ctx, u64), u32 gs_rt_block_any(ctx, u32)
 *   u64 gs_rt_ram_pages(ctx), const void *gs_rt_ram_page(ctx, u64 index)
 */

#endif
