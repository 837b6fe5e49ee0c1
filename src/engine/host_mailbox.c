// SPDX-License-Identifier: Apache-2.0
#include "engine/host_mailbox.h"
#include "engine/formats.h"
#include "engine/memory_area.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "mailbox.h"
#include "mailbox/layout.h"
#include "mailbox/progress.h"
#include "request.h"
#include "util/cleanup.h"

#define MS UINT64_C(1000000)

enum {
	BEAT_MS = 100,
	STALL_MS = 1000,
	STALL_PERIODS = 10,
};

// How long nobody looks for requests: as long as the last one is ago, within these bounds, since each look wakes a CPU. So a request
// waits for no longer than its sender took between two.
#define LOOK_LEAST_NS (MS / 20)
#define LOOK_MOST_NS (10 * MS)

struct host_mailbox {
	// Open as long as the memory is mapped: /proc/PID/fd shows it to other processes.
	int fd;
	struct gs_mailbox_header header;
	uint8_t *memory;
	struct mailbox_reader *reader;
	struct gs_control controls[GS_MAILBOX_DETECTORS];
	struct gs_supervisor supervisor;
	// Of the supervisor's look at the target's memory.
	struct gs_block block;
	struct gs_engine *engine;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool quit;
};

static struct gs_error *read_memory(void *arg, uint64_t offset, void *buf, size_t size)
{
	const struct host_mailbox *mailbox = arg;

	memcpy(buf, mailbox->memory + offset, size);
	return NULL;
}

// The numbers of an earlier mailbox go on.
static void resume(struct host_mailbox *mailbox, const struct gs_mailbox_progress *from)
{
	const struct gs_mailbox_header *header = &mailbox->header;
	struct gs_mailbox_detector *rows = (void *)(mailbox->memory + header->detectors.offset);

	for (uint32_t i = 0; i < GS_MAILBOX_RINGS; i++)
		mailbox_first_ring(from, i, (void *)(mailbox->memory + header->rings[i].offset));
	for (uint32_t i = 0; i < header->detector_count; i++)
		mailbox_first_row(from, i, &rows[i]);
}

static struct gs_error *map_memory(struct host_mailbox *mailbox, struct gs_engine *engine)
{
	static const uint64_t slots[] = { MAILBOX_FINDING_SLOTS, MAILBOX_DATA_SLOTS };
	struct gs_mailbox_header *header = &mailbox->header;

	mailbox_layout(header, GS_MAILBOX_CPU, slots);
	header->wall_offset_ns = (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
	snprintf(header->release, sizeof(header->release), "%s", gs_kernel_release(engine->kernel));
	snprintf(header->target, sizeof(header->target), "%s",
		 gs_target_spec(gs_kernel_target(engine->kernel)));
	header->epoch = engine->resume ? engine->resume->epoch + 1 : 0;
	mailbox_seal_header(header);

	// Pages that nobody fills cost nothing.
	mailbox->fd = memfd_create("gpusentinel-mailbox", MFD_CLOEXEC);
	if (mailbox->fd < 0 || ftruncate(mailbox->fd, (off_t)header->size) < 0)
		return gs_error_errno(GS_ERROR_ENGINE, errno, "no shared memory for the mailbox");

	void *memory = mmap(NULL, header->size, PROT_READ | PROT_WRITE, MAP_SHARED, mailbox->fd, 0);

	if (memory == MAP_FAILED)
		return gs_error_errno(GS_ERROR_ENGINE, errno, "no shared memory for the mailbox");
	mailbox->memory = memory;

	size_t size;
	_cleanup_free_ struct gs_mailbox_memory *area = memory_area_make(engine->kernel, &size);

	if (!area)
		return &gs_enomem;
	memcpy(mailbox->memory + header->memory.offset, area, size);
	if (engine->resume)
		resume(mailbox, engine->resume);
	memcpy(memory, header, sizeof(*header));
	return mailbox_reader_create(read_memory, mailbox, &mailbox->reader);
}

// Everything that there is to do for monitors, or for so long that a beat is not late. False: nothing.
static bool serve(struct host_mailbox *mailbox, uint64_t until)
{
	struct gs_supervisor *supervisor = &mailbox->supervisor;
	bool any = false;

	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		struct gs_piece piece;

		if (now >= until || !gs_requests_turn(supervisor, mailbox_crc32c(), now, &piece))
			return any;
		if (piece.size)
			gs_requests_copy(supervisor, mailbox_crc32c(), &piece);
		any = true;
	}
}

static uint64_t sleep_after(uint64_t idle_ns)
{
	if (idle_ns < LOOK_LEAST_NS)
		return LOOK_LEAST_NS;
	return idle_ns < LOOK_MOST_NS ? idle_ns : LOOK_MOST_NS;
}

// Until @when, or a wish to quit. Under the lock.
static void sleep_until(struct host_mailbox *mailbox, uint64_t when)
{
	struct timespec until = clock_timespec(when);

	while (!mailbox->quit &&
	       pthread_cond_timedwait(&mailbox->wake, &mailbox->lock, &until) != ETIMEDOUT)
		;
}

// Threads that wait for their period see who is wanted.
static void wake_detectors(struct host_mailbox *mailbox)
{
	pthread_mutex_unlock(&mailbox->lock);
	pthread_mutex_lock(&mailbox->engine->lock);
	pthread_cond_broadcast(&mailbox->engine->wake);
	pthread_mutex_unlock(&mailbox->engine->lock);
	pthread_mutex_lock(&mailbox->lock);
}

static void *supervise(void *arg)
{
	struct host_mailbox *mailbox = arg;
	struct gs_supervisor *supervisor = &mailbox->supervisor;
	uint64_t now = clock_ns(CLOCK_MONOTONIC), next = now, last = 0, kicks = 0;

	pthread_mutex_lock(&mailbox->lock);
	gs_requests_begin(supervisor, mailbox_crc32c());
	while (!mailbox->quit) {
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= next) {
			gs_supervisor_beat(supervisor, now, GS_MAILBOX_RUNNING);
			next += BEAT_MS * MS;
			if (next < now)
				next = now + BEAT_MS * MS;
		}
		if (serve(mailbox, next))
			last = clock_ns(CLOCK_MONOTONIC);
		if (supervisor->kicks != kicks) {
			kicks = supervisor->kicks;
			wake_detectors(mailbox);
		}
		now = clock_ns(CLOCK_MONOTONIC);

		uint64_t look = now + sleep_after(now - last);

		sleep_until(mailbox, look < next ? look : next);
	}
	gs_supervisor_beat(supervisor, clock_ns(CLOCK_MONOTONIC), GS_MAILBOX_STOPPED);
	pthread_mutex_unlock(&mailbox->lock);
	return NULL;
}

struct gs_error *host_mailbox_create(struct gs_engine *engine, struct host_mailbox **ret)
{
	struct host_mailbox *mailbox = calloc(1, sizeof(*mailbox));

	if (!mailbox)
		return &gs_enomem;
	mailbox->fd = -1;
	mailbox->engine = engine;
	pthread_mutex_init(&mailbox->lock, NULL);
	cond_init(&mailbox->wake);

	struct gs_error *err = map_memory(mailbox, engine);

	if (!err) {
		mailbox->supervisor.period_ns = BEAT_MS * MS;
		mailbox->supervisor.block = (uint64_t)&mailbox->block;
		mailbox_supervisor(&mailbox->supervisor, &mailbox->header,
				   (uint64_t)mailbox->memory, (uint64_t)mailbox_crc32c());

		int result = pthread_create(&mailbox->thread, NULL, supervise, mailbox);

		mailbox->has_thread = !result;
		if (result)
			err = gs_error_errno(GS_ERROR_ENGINE, result,
					     "no thread for the heartbeat");
	}
	if (err) {
		host_mailbox_destroy(mailbox);
		return err;
	}
	*ret = mailbox;
	return NULL;
}

void host_mailbox_destroy(struct host_mailbox *mailbox)
{
	if (!mailbox)
		return;
	if (mailbox->has_thread) {
		pthread_mutex_lock(&mailbox->lock);
		mailbox->quit = true;
		pthread_cond_broadcast(&mailbox->wake);
		pthread_mutex_unlock(&mailbox->lock);
		pthread_join(mailbox->thread, NULL);
	}
	mailbox_reader_destroy(mailbox->reader);
	if (mailbox->memory)
		munmap(mailbox->memory, mailbox->header.size);
	if (mailbox->fd >= 0)
		close(mailbox->fd);
	pthread_cond_destroy(&mailbox->wake);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

// A free row, and what a detector needs of it. Under the lock.
static void take_row(struct host_mailbox *mailbox, struct gs_detector *detector, uint32_t row,
		     const struct gs_mailbox_formats *formats)
{
	struct gs_supervisor *supervisor = &mailbox->supervisor;
	uint64_t periods = STALL_PERIODS * (uint64_t)detector->period_us * 1000;
	struct gs_control *control = &mailbox->controls[row];
	struct gs_mailbox_detector *at =
		(struct gs_mailbox_detector *)(mailbox->memory + mailbox->header.detectors.offset) +
		row;

	memcpy(mailbox->memory + mailbox_formats_offset(&mailbox->header, row), formats,
	       formats->size);
	mailbox_row(at, detector->name, detector->period_us, 1, 1, formats);
	*control = (struct gs_control){};
	formats_params(detector->loaded->fat, (uint64_t)detector->loaded->slots, control);
	mailbox_writer(&control->writer, &mailbox->header, (uint64_t)mailbox->memory,
		       (uint64_t)mailbox_crc32c(), row, at->generation);
	// All detectors have the same view of the target.
	supervisor->map = detector->ctx->map;
	supervisor->fault_fn = detector->ctx->fault_fn;
	supervisor->fault_arg = detector->ctx->fault_arg;
	supervisor->stall_ns[row] = periods > STALL_MS * MS ? periods : STALL_MS * MS;
	supervisor->controls[row] = (uint64_t)control;
	detector->control = control;
}

void host_mailbox_add(struct host_mailbox *mailbox, struct gs_detector *detector)
{
	uint32_t row = 0;

	if (detector->control)
		return;

	_cleanup_free_ struct gs_mailbox_formats *formats =
		formats_make(detector->loaded->fat, mailbox_formats_room(&mailbox->header));

	if (!formats)
		return;
	pthread_mutex_lock(&mailbox->lock);
	while (row < GS_MAILBOX_DETECTORS && mailbox->supervisor.controls[row])
		row++;
	if (row < GS_MAILBOX_DETECTORS)
		take_row(mailbox, detector, row, formats);
	pthread_mutex_unlock(&mailbox->lock);
}

void host_mailbox_remove(struct host_mailbox *mailbox, struct gs_detector *detector)
{
	if (!mailbox || !detector->control)
		return;
	pthread_mutex_lock(&mailbox->lock);
	mailbox->supervisor.controls[detector->control->writer.detector] = 0;
	gs_mailbox_set_state(&detector->control->writer, GS_MAILBOX_STOPPED);
	pthread_mutex_unlock(&mailbox->lock);
	detector->control = NULL;
}

void host_mailbox_begin(struct gs_detector *detector)
{
	struct gs_control *control = detector->control;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!control)
		return;
	control->kicked = __atomic_load_n(&control->kick, __ATOMIC_RELAXED);
	__atomic_store_n(&control->since_ns, now, __ATOMIC_RELAXED);
	gs_mailbox_run_begin(&control->writer, now);
}

void host_mailbox_end(struct gs_detector *detector, bool ran)
{
	struct gs_control *control = detector->control;

	if (!control)
		return;
	((struct gs_mailbox_detector *)control->writer.entry)->kicked = control->kicked;
	if (ran) {
		uint64_t lost = gs_mailbox_publish(&control->writer, detector->ctx);

		gs_mailbox_run_end(&control->writer, detector->ctx, lost,
				   clock_ns(CLOCK_MONOTONIC));
	} else {
		gs_mailbox_set_state(&control->writer, GS_MAILBOX_WAITING);
	}
	__atomic_store_n(&control->since_ns, 0, __ATOMIC_RELAXED);
}

bool host_mailbox_wanted(const struct gs_detector *detector)
{
	const struct gs_control *control = detector->control;

	return control && __atomic_load_n(&control->kick, __ATOMIC_RELAXED) != control->kicked;
}

struct gs_error *host_mailbox_heartbeat(struct host_mailbox *mailbox,
					struct gs_mailbox_heartbeat *ret)
{
	pthread_mutex_lock(&mailbox->lock);

	struct gs_error *err = mailbox_read_heartbeat(mailbox->reader, ret);

	pthread_mutex_unlock(&mailbox->lock);
	return err;
}

struct gs_error *host_mailbox_row(struct host_mailbox *mailbox, uint32_t index,
				  struct gs_mailbox_detector *ret)
{
	pthread_mutex_lock(&mailbox->lock);

	struct gs_error *err = mailbox_read_detector(mailbox->reader, index, ret);

	pthread_mutex_unlock(&mailbox->lock);
	return err;
}

struct gs_error *host_mailbox_progress(struct host_mailbox *mailbox,
				       struct gs_mailbox_progress *ret)
{
	pthread_mutex_lock(&mailbox->lock);

	struct gs_error *err = mailbox_read_progress(mailbox->reader, ret);

	pthread_mutex_unlock(&mailbox->lock);
	return err;
}

void host_mailbox_export(const struct host_mailbox *mailbox, struct gs_mailbox_export *ret)
{
	*ret = (struct gs_mailbox_export){
		.size = mailbox->header.size,
		.memory = mailbox->memory,
		.header = &mailbox->header,
		.fd = mailbox->fd,
	};
}
