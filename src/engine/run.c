// SPDX-License-Identifier: Apache-2.0
// Runs of a detector: what surrounds the call, whichever engine makes it.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "engine/chunks.h"
#include "engine/decode.h"
#include "engine/host_mailbox.h"
#include "engine/internal.h"
#include "util/cleanup.h"

void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	// Periods must not move when somebody sets the clock.
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

// An engine with one thread does the work of all.
static uint64_t whole_budget(const struct gs_detector *detector)
{
	uint64_t budget;

	if (detector->engine->ops->parallel)
		return detector->budget;
	return __builtin_mul_overflow(detector->budget, detector->threads, &budget) ? UINT64_MAX
										    : budget;
}

static struct gs_error *call(struct gs_detector *detector, uint64_t *took_ns)
{
	struct gs_ctx *ctx = detector->ctx;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	ctx->now_ns = now;
	ctx->budget = whole_budget(detector);
	ctx->run = detector->stats.runs;
	// Where many threads run, each adds to these.
	ctx->out_used = 0;
	ctx->out_lost = 0;
	ctx->faults = 0;
	ctx->fault_address = 0;
	ctx->walks = 0;
	ctx->stop = GS_STOP_NONE;
	ctx->stop_site = 0;

	struct gs_error *err = detector->engine->ops->run(detector);

	*took_ns = clock_ns(CLOCK_MONOTONIC) - now;
	return err;
}

static bool grow(struct gs_detector *detector)
{
	uint64_t size = (uint64_t)detector->ctx->out_size * 2;

	if (size > MAX_OUTPUT)
		return false;

	uint8_t *out = calloc(1, size);

	if (!out)
		return false;
	free(detector->out);
	detector->out = out;
	detector->ctx->out = (uint64_t)out;
	detector->ctx->out_size = (uint32_t)size;
	return true;
}

static void symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	gs_kernel_symbolize(arg, address, buf, len);
}

struct gs_error *detector_deliver(struct gs_detector *detector, const void *records, size_t size,
				  uint64_t wall_offset_ns, uint32_t kinds, gs_record_fn *fn,
				  void *arg, uint64_t *count_ret)
{
	struct gs_engine *engine = detector->engine;
	struct decode_run run = {
		.fat = detector->loaded->fat,
		.detector = detector,
		.detector_name = detector->name,
		.wall_offset_ns = wall_offset_ns,
		.symbolize = symbolize,
		.symbolize_arg = engine->kernel,
		.fn = fn,
		.arg = arg,
		.kinds = kinds,
	};

	uint64_t damaged;

	pthread_mutex_lock(&engine->deliver_lock);

	struct gs_error *err = decode_records(&run, records, size, count_ret, &damaged);

	pthread_mutex_unlock(&engine->deliver_lock);
	if (damaged) {
		pthread_mutex_lock(&engine->lock);
		detector->damaged += damaged;
		detector->stats.records_lost += damaged;
		pthread_mutex_unlock(&engine->lock);
	}
	return err;
}

static void count_run(struct gs_detector *detector, uint64_t took_ns, uint64_t records)
{
	const struct gs_ctx *ctx = detector->ctx;
	struct gs_run_stats *stats = &detector->stats;

	pthread_mutex_lock(&detector->engine->lock);
	stats->runs++;
	stats->last_ns = took_ns;
	if (took_ns > stats->max_ns)
		stats->max_ns = took_ns;
	if (ctx->faults && !stats->faults)
		stats->fault_address = ctx->fault_address;
	stats->faults += ctx->faults;
	stats->walks += ctx->walks;
	stats->records += records;
	stats->records_lost += ctx->out_lost;
	stats->stopped_budget += ctx->stop == GS_STOP_BUDGET;
	stats->stopped_bounds += ctx->stop == GS_STOP_BOUNDS;
	stats->stopped_trap += ctx->stop == GS_STOP_TRAP;
	if (ctx->stop != GS_STOP_NONE) {
		fat_site_name(detector->loaded->fat, ctx->stop_site, false, detector->stop_site,
			      sizeof(detector->stop_site));
		stats->stop_site = detector->stop_site;
	}
	pthread_mutex_unlock(&detector->engine->lock);
}

// What the run did not see, worst first. @records: delivered.
static struct gs_error *incomplete(const struct gs_detector *detector, uint64_t records)
{
	const struct gs_ctx *ctx = detector->ctx;
	const char *name = detector->name;
	char site[512];

	fat_site_name(detector->loaded->fat, ctx->stop_site, false, site, sizeof(site));
	switch (ctx->stop) {
	case GS_STOP_NONE:
		break;
	case GS_STOP_BUDGET:
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: stopped after %" PRIu64
				       " loop iterations at %s: the list does not "
				       "end or --budget is too small; %" PRIu64 " rows shown",
				       name, whole_budget(detector), site, records);
	case GS_STOP_BOUNDS:
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: stopped at %s: an index is outside its array; %" PRIu64
				       " rows shown",
				       name, site, records);
	default:
		return gs_error_create(
			GS_ERROR_INCOMPLETE,
			"%s: stopped at %s: it reached code that it declares unreachable; "
			"%" PRIu64 " rows shown",
			name, site, records);
	}
	if (ctx->out_lost) {
		return gs_error_create(GS_ERROR_INCOMPLETE,
				       "%s: %" PRIu64
				       " records did not fit in the buffer of %u KiB; "
				       "%" PRIu64 " rows shown",
				       name, ctx->out_lost, ctx->out_size >> 10, records);
	}
	if (ctx->faults) {
		return gs_error_address(GS_ERROR_INCOMPLETE, ctx->fault_address,
					"%s: %" PRIu64
					" loads failed, the first at address 0x%" PRIx64
					"; what they were to read shows as zero",
					name, ctx->faults, ctx->fault_address);
	}
	return NULL;
}

struct gs_error *detector_run(struct gs_detector *detector, bool again, uint32_t kinds,
			      gs_record_fn *fn, void *arg)
{
	const struct engine_ops *ops = detector->engine->ops;

	pthread_mutex_lock(&detector->run_lock);
	again = again && ops->save(detector->loaded);

	uint64_t took_ns, records = 0;

	host_mailbox_begin(detector);

	struct gs_error *err = call(detector, &took_ns);

	// A list that does not end fills any buffer.
	while (!err && again && detector->ctx->out_lost && detector->ctx->stop != GS_STOP_BUDGET &&
	       grow(detector)) {
		err = ops->restore(detector->engine, detector->loaded);
		if (!err)
			err = call(detector, &took_ns);
	}
	host_mailbox_end(detector, !err);
	if (err) {
		pthread_mutex_unlock(&detector->run_lock);
		return err;
	}

	const struct gs_ctx *ctx = detector->ctx;
	size_t used = ctx->out_used < ctx->out_size ? ctx->out_used : ctx->out_size;

	if (detector->threads > 1) {
		if (ops->parallel)
			used = gs_chunks_compact(detector->out, used);
		err = gs_records_sort(detector->out, used);
	}
	if (!err)
		err = detector_deliver(detector, detector->out, used,
				       clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC), kinds,
				       fn, arg, &records);
	count_run(detector, took_ns, records);
	if (!err)
		err = incomplete(detector, records);
	// Without a repetition what was lost is lost, but the next run need not lose as much.
	if (detector->ctx->out_lost && !again)
		grow(detector);
	pthread_mutex_unlock(&detector->run_lock);
	return err;
}

struct gs_error *gs_detector_run(struct gs_detector *detector, gs_record_fn *fn, void *arg)
{
	pthread_mutex_lock(&detector->engine->lock);

	// Static variables are shared by the detectors of a file: nothing else may change them
	// meanwhile.
	bool alone = !detector->engine->running;

	pthread_mutex_unlock(&detector->engine->lock);
	return detector_run(detector, alone, UINT32_MAX, fn, arg);
}

// Waits until @when, or until a monitor wants a run; false: stop.
static bool wait_until(struct gs_detector *detector, uint64_t when)
{
	struct gs_engine *engine = detector->engine;
	struct timespec until = clock_timespec(when);
	int result = 0;

	pthread_mutex_lock(&engine->lock);
	while (!detector->stopping && !host_mailbox_wanted(detector) && result != ETIMEDOUT)
		result = pthread_cond_timedwait(&engine->wake, &engine->lock, &until);

	bool go_on = !detector->stopping;

	pthread_mutex_unlock(&engine->lock);
	return go_on;
}

static void *periodic(void *arg)
{
	struct gs_detector *detector = arg;
	uint64_t period = (uint64_t)detector->period_us * 1000;
	uint64_t next = clock_ns(CLOCK_MONOTONIC);

	while (wait_until(detector, next)) {
		// What went wrong is in the statistics, and in the records themselves.
		gs_error_destroy(detector_run(detector, false, detector_kinds(detector),
					      detector->engine->fn, detector->engine->arg));

		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		// A run out of turn leaves the others where they are.
		if (next <= now)
			next += period;
		// Runs that were missed are skipped: a late detector must not become a busy one.
		if (next <= now)
			next += (now - next) / period * period + period;
	}
	return NULL;
}

struct gs_error *periodic_start(struct gs_detector *detector)
{
	detector->stopping = false;
	if (detector->engine->mailbox)
		host_mailbox_add(detector->engine->mailbox, detector);

	int err = pthread_create(&detector->thread, NULL, periodic, detector);

	if (err)
		return gs_error_errno(GS_ERROR_OTHER, err, "%s: no thread to run it",
				      detector->name);
	detector->has_thread = true;
	return NULL;
}

void periodic_stop(struct gs_detector *detector)
{
	if (!detector->has_thread)
		return;
	pthread_mutex_lock(&detector->engine->lock);
	detector->stopping = true;
	pthread_cond_broadcast(&detector->engine->wake);
	pthread_mutex_unlock(&detector->engine->lock);
	pthread_join(detector->thread, NULL);
	detector->has_thread = false;
}
