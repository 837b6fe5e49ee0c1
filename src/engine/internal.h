/* SPDX-License-Identifier: Apache-2.0 */
// What engines share: the objects behind gpusentinel/engine.h, and what an engine must be able to
// do.
#ifndef GS_ENGINE_INTERNAL_H
#define GS_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/ctx.h>
#include <gpusentinel/engine.h>

#include "engine/fat.h"
#include "util/clock.h"

// Loop iterations of one run if nobody says otherwise: the longest lists of a large machine fit,
// and a list without end costs a fraction of a second.
#define DEFAULT_BUDGET (UINT64_C(4) << 20)
#define DEFAULT_PERIOD_US 1000000
#define DEFAULT_OUTPUT (UINT64_C(4) << 20)
#define MIN_OUTPUT (UINT64_C(64) << 10)
#define MAX_OUTPUT (UINT64_C(64) << 20)

// A fat detector that an engine has loaded and resolved; its detectors share it.
struct loaded {
	struct loaded *next;
	struct gs_fat *fat;
	size_t users;
	// Those of parameters may change at any time.
	uint64_t *slots;
	// The engine's.
	void *code;
};

struct gs_control;
struct gs_mailbox_detector;
struct gs_mailbox_heartbeat;

struct gs_detector {
	struct gs_detector *next;
	struct gs_engine *engine;
	struct loaded *loaded;
	size_t index;
	const char *name;
	uint32_t period_us;
	// Of one thread.
	uint64_t budget;
	// Threads of all blocks that it wants.
	uint32_t threads;
	// Bit N: records of kind N are wanted, whether the engine's are or not.
	uint32_t kinds;

	// One run at a time.
	pthread_mutex_t run_lock;
	struct gs_ctx *ctx;
	// For engines that run here.
	struct gs_block *block;
	uint8_t *out;
	// The engine's.
	void *code;
	// Row in the mailbox of an engine that runs here; NULL: none.
	struct gs_control *control;

	// Under the engine's lock.
	struct gs_run_stats stats;
	// Records that were delivered by nobody, as they are damaged.
	uint64_t damaged;
	char stop_site[512];
	bool has_thread, stopping;
	pthread_t thread;
};

// What differs between engines.
struct engine_ops {
	const char *name;
	// Runs as many threads as a detector wants, which write records in chunks; else one.
	bool parallel;
	// What there is to run on, without taking it into use: a line that the caller ends with
	// free(). GS_ERROR_ENGINE: cannot run here.
	struct gs_error *(*describe)(char **ret);
	// GS_ERROR_ENGINE: cannot run here.
	struct gs_error *(*create)(struct gs_engine *engine);
	void (*destroy)(struct gs_engine *engine);
	// Make the code of a fat detector runnable.
	struct gs_error *(*load)(struct gs_engine *engine, struct loaded *loaded);
	void (*unload)(struct gs_engine *engine, struct loaded *loaded);
	// Find the entry of a detector, and fill in what is constant in its context.
	struct gs_error *(*add)(struct gs_detector *detector);
	// Undo add(), even half done; NULL: nothing to undo.
	void (*remove)(struct gs_detector *detector);
	// Run once. The caller has set what changes from run to run and holds run_lock.
	struct gs_error *(*run)(struct gs_detector *detector);
	// Remember the detectors' static variables, and put them back: a run that is repeated
	// begins as the first did.
	bool (*save)(struct loaded *loaded);
	struct gs_error *(*restore)(struct gs_engine *engine, struct loaded *loaded);
	// Run all detectors on their periods, also those that were added since, and end that. NULL: in threads
	// that call run(). load(), add() and remove() may be called in between.
	struct gs_error *(*start)(struct gs_engine *engine);
	void (*stop)(struct gs_engine *engine);
	// Change a slot while detectors may run. NULL: they read the slots of struct loaded.
	struct gs_error *(*set_slot)(struct gs_engine *engine, struct loaded *loaded,
				     uint32_t slot);
	// With start: read from the mailbox. @index: row of the detector table.
	struct gs_error *(*heartbeat)(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret);
	struct gs_error *(*row)(struct gs_engine *engine, uint32_t index,
				struct gs_mailbox_detector *ret);
	struct gs_error *(*export)(struct gs_engine *engine, struct gs_mailbox_export *ret);
	struct gs_error *(*progress)(struct gs_engine *engine, struct gs_mailbox_progress *ret);
};

struct gs_engine {
	const struct engine_ops *ops;
	struct gs_kernel *kernel;
	// What it runs on, or why it was chosen.
	char *why;
	// The engine's.
	void *priv;
	// What the mailbox goes on from; NULL: nothing.
	struct gs_mailbox_progress *resume;
	// Of engines that run in threads here; from the first start on.
	struct host_mailbox *mailbox;

	// Protects what follows, and the detectors' statistics.
	pthread_mutex_t lock;
	// Wakes threads that wait for their next period.
	pthread_cond_t wake;
	struct loaded *loaded;
	struct gs_detector *detectors;
	bool running;
	// Why they no longer run; NULL: nothing has failed.
	struct gs_error *error;

	// Records are delivered from one thread at a time.
	pthread_mutex_t deliver_lock;
	gs_record_fn *fn;
	void *arg;
	// Bit N: records of kind N are wanted, of all detectors and of any.
	uint32_t kinds, kinds_of_any;
};

static inline uint32_t detector_kinds(const struct gs_detector *detector)
{
	return detector->engine->kinds | detector->kinds;
}

extern const struct engine_ops cpu_ops, cuda_ops;

// What is said to who looks into the mailbox too early.
struct gs_error *engine_no_mailbox(void);

// Detectors that ran by themselves have ended because of @err, which this takes over; NULL: nothing. The first one is
// kept for gs_engine_error().
void engine_fail(struct gs_engine *engine, struct gs_error *err);

// A condition that waits on CLOCK_MONOTONIC.
void cond_init(pthread_cond_t *cond);

// Bytes of record buffer that a detector is given. @wanted: 0: as it says.
uint64_t detector_output(const struct gs_fat_detector *fat, uint64_t wanted);

// Decode records of a detector and hand them on. @wall_offset_ns: from their clock to that of people.
struct gs_error *detector_deliver(struct gs_detector *detector, const void *records, size_t size,
				  uint64_t wall_offset_ns, uint32_t kinds, gs_record_fn *fn,
				  void *arg, uint64_t *count_ret);

// One run and the delivery of its records. @again: repeat a run whose records did not fit in a
// larger buffer.
struct gs_error *detector_run(struct gs_detector *detector, bool again, uint32_t kinds,
			      gs_record_fn *fn, void *arg);

// Threads that run detectors on their periods. Both are called without locks.
struct gs_error *periodic_start(struct gs_detector *detector);
void periodic_stop(struct gs_detector *detector);

#endif
