/* SPDX-License-Identifier: Apache-2.0 */
// What the parts of the cuda engine that let detectors run by themselves have in common: the mailbox in GPU
// memory (cuda_mailbox.c), the kernels (cuda_kernels.c), the thread that reads what they write
// (cuda_reader.c), and what ties them together (cuda_loop.c).
#ifndef GS_ENGINE_CUDA_LOOP_H
#define GS_ENGINE_CUDA_LOOP_H

#include "engine/cuda.h"

#define SECOND UINT64_C(1000000000)

// Under cuda->lock, in the context; nothing runs yet. Once there is one, nothing.
struct gs_error *cuda_mailbox_open(struct cuda *cuda);
void cuda_mailbox_close(struct cuda *cuda);
// Give a detector a row, with its formats, and take the row back. @ret: its way into the mailbox.
struct gs_error *cuda_mailbox_add(struct cuda *cuda, const struct gs_detector *detector, int index,
				  struct gs_mailbox_writer *ret);
struct gs_error *cuda_mailbox_remove(struct cuda *cuda, int index);

// Under cuda->lock, in the context: launch whatever the engine has, for the first time or again; tell all of
// it to return, and wait for that; go on.
struct gs_error *cuda_kernels_start(struct cuda *cuda);
struct gs_error *cuda_kernels_end(struct cuda *cuda);
struct gs_error *cuda_kernels_resume(struct cuda *cuda);

// The thread; nothing if there is one, or none.
struct gs_error *cuda_reader_start(struct cuda *cuda);
void cuda_reader_stop(struct cuda *cuda);
// Deliver everything that is in the mailbox; @table: look at the detector table too. Under reader_lock, in the
// context.
struct gs_error *cuda_reader_drain(struct cuda *cuda, bool table);

// Register pages that came into being since. @done_ret: there were some. An error is that nothing runs any
// more.
struct gs_error *cuda_loop_refresh(struct cuda *cuda, bool *done_ret);

#endif
