// SPDX-License-Identifier: Apache-2.0
// The kernels that are no detectors: the supervisor, and what the engine asks of the GPU once.
//
// The supervisor is one block. Its first thread beats, and takes turns at the requests of monitors; all threads copy
// what a turn leaves them.
#include "clock.h"
#include "request.h"
#include "threads.h"
#include "words.h"
// Who has the runtime in the same unit says so.
#ifndef GS_DEVICE_HAS_RT
#include "block.c"
#include "map.c"
#endif
#include "mailbox.c"
#include "metric.c"
#include "read.c"
#include "request.c"

#ifdef __NVPTX__
#define KERNEL __attribute__((nvptx_kernel))
#define SHARED static __attribute__((address_space(3), loader_uninitialized))
#else
#define KERNEL
#define SHARED
#endif

// Idle turns are this far apart: what a request waits for, beside its way.
#define IDLE_NS 500

KERNEL void gs_supervisor(struct gs_supervisor *supervisor);
KERNEL void gs_read_clock(uint64_t *ret);

static bool stopped(const struct gs_supervisor *supervisor)
{
	return *(const volatile uint64_t *)&supervisor->stop;
}

// What the first thread does between copies; false: return.
static bool lead(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		 uint64_t *next_beat, struct gs_piece *piece)
{
	while (!stopped(supervisor)) {
		uint64_t now = gs_clock();

		if (now >= *next_beat) {
			gs_supervisor_beat(supervisor, now, GS_MAILBOX_RUNNING);
			*next_beat += supervisor->period_ns;
			if (*next_beat <= now)
				*next_beat = now + supervisor->period_ns;
		}

		bool busy = gs_requests_turn(supervisor, crc32c, now, piece);

		if (piece->size)
			return true;
		if (!busy)
			gs_sleep(IDLE_NS);
	}
	gs_supervisor_beat(supervisor, gs_clock(), GS_MAILBOX_STOPPED);
	return false;
}

KERNEL void gs_supervisor(struct gs_supervisor *supervisor)
{
	const gs_word *table = (const gs_word *)supervisor->crc32c;
	SHARED struct gs_crc32c shared_table;
	SHARED struct gs_piece shared_piece;
	SHARED uint32_t shared_go;
	struct gs_crc32c *crc32c = (struct gs_crc32c *)&shared_table;
	struct gs_piece *piece = (struct gs_piece *)&shared_piece;
	uint32_t *go = (uint32_t *)&shared_go;
	uint64_t next_beat = 0;

	// Lookups go by what was read last: in shared memory they take a tenth of the time.
	for (uint32_t i = gs_my_thread(); i < gs_words_of(struct gs_crc32c); i += GS_THREADS)
		((gs_word *)crc32c)[i] = table[i];
	gs_wait_for_all();
	if (!gs_my_thread())
		gs_requests_begin(supervisor, crc32c);
	for (;;) {
		if (!gs_my_thread())
			*go = lead(supervisor, crc32c, &next_beat, piece);
		gs_wait_for_all();
		if (!*go)
			return;
		gs_requests_copy(supervisor, crc32c, piece);
		gs_wait_for_all();
	}
}

KERNEL void gs_read_clock(uint64_t *ret)
{
	*(volatile uint64_t *)ret = gs_clock();
}
