/* SPDX-License-Identifier: Apache-2.0 */
// What the parts of the cuda engine that let detectors run by themselves have in common: the mailbox in GPU
// memory (cuda_mailbox.c), the kernels' launch (cuda_kernels.c) and end (cuda_quiet.c), the thread that reads what
// they write (cuda_reader.c), and what ties them together (cuda_loop.c).
#ifndef GS_ENGINE_CUDA_LOOP_H
#define GS_ENGINE_CUDA_LOOP_H

#include "engine/cuda.h"

#define SECOND UINT64_C(1000000000)

// Under cuda->lock, in the context; nothing runs yet. Once there is one, nothing.
struct gs_error *cuda_mailbox_open(struct cuda *cuda);
// @entered: in the context; else nothing can be given back to the driver.
void cuda_mailbox_close(struct cuda *cuda, bool entered);
// Give a detector a row, with its formats, and take the row back. @ret: its way into the mailbox.
struct gs_error *cuda_mailbox_add(struct cuda *cuda, const struct gs_detector *detector, int index,
				  struct gs_mailbox_writer *ret);
struct gs_error *cuda_mailbox_remove(struct cuda *cuda, int index);

// Records that the detector in a row has lost; its kernel does not run.
struct gs_error *cuda_mailbox_read_lost(struct cuda *cuda, int index, uint64_t *ret);

// All that follows is called under cuda->lock, in the context.

// Launch whatever does not run yet, for the first time or again.
struct gs_error *cuda_kernels_start(struct cuda *cuda);
// A buffer for records twice as large, up to MAX_OUTPUT. Later, if the detector is in a long run.
struct gs_error *cuda_kernels_grow(struct cuda *cuda, struct gs_detector *detector);
// The supervisor looks at this detector no more.
void cuda_kernels_unwatch(struct cuda *cuda, const struct gs_detector *detector);

// Tell all kernels to return, and wait for that; or one.
struct gs_error *cuda_kernels_end(struct cuda *cuda);
struct gs_error *cuda_kernels_end_one(struct cuda *cuda, struct gs_detector *detector);
// It waits between two runs, for a while, or has ended. If it is in a run that takes too long, it runs on and this
// fails.
struct gs_error *cuda_kernels_park(struct cuda *cuda, struct gs_detector *detector);
// An error if a detector that was removed still runs, since then nothing can be added.
struct gs_error *cuda_check_stuck(const struct cuda *cuda);
// No kernel runs any more, until cuda_kernels_start(). If one of them is in a run that takes too long, all run on
// and this fails.
struct gs_error *cuda_quiet(struct cuda *cuda);
// Give the driver what was freed while kernels ran, if none does.
void cuda_release(struct cuda *cuda);

// The thread; nothing if there is one, or none.
struct gs_error *cuda_reader_start(struct cuda *cuda);
void cuda_reader_stop(struct cuda *cuda);
// Deliver everything that is in the mailbox; @table: look at the detector table too. Under reader_lock, in the
// context.
struct gs_error *cuda_reader_drain(struct cuda *cuda, bool table);

#endif
