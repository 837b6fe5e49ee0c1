// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/watch.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "grass_cli/records.h"
#include "util/clock.h"

enum { STACK = 256 << 10 };

#define SECOND UINT64_C(1000000000)
// A host that cannot be reached is tried again after so long at first, then after twice as long each time.
#define BACKOFF_NS SECOND
#define BACKOFF_MAX_NS (32 * SECOND)
// An answer that takes longer than a heartbeat's interval counts as missing, but not if it takes less than this.
#define ANSWER_MIN_NS (SECOND / 2)

void watch_end_init(struct watch_end *end)
{
	pthread_condattr_t attributes;

	*end = (struct watch_end){};
	pthread_mutex_init(&end->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&end->wake, &attributes);
	pthread_condattr_destroy(&attributes);
}

void watch_end_deinit(struct watch_end *end)
{
	pthread_cond_destroy(&end->wake);
	pthread_mutex_destroy(&end->lock);
}

void watch_end_now(struct watch_end *end)
{
	pthread_mutex_lock(&end->lock);
	end->ended = true;
	pthread_cond_broadcast(&end->wake);
	pthread_mutex_unlock(&end->lock);
}

bool watch_end_sleep(struct watch_end *end, uint64_t ns)
{
	struct timespec until = clock_timespec(clock_ns(CLOCK_MONOTONIC) + ns);
	int result = 0;

	pthread_mutex_lock(&end->lock);
	while (!end->ended && result != ETIMEDOUT)
		result = pthread_cond_timedwait(&end->wake, &end->lock, &until);

	bool go_on = !end->ended;

	pthread_mutex_unlock(&end->lock);
	return go_on;
}

int watch_thread(pthread_t *ret, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);

	int result = pthread_create(ret, &attributes, run, arg);

	pthread_attr_destroy(&attributes);
	return result;
}

struct watch {
	const struct host_address *address;
	const struct watch_options *options;
	void *arg;
	struct verdict verdict;
	struct host host;
	bool open;
	// An answer is owed.
	bool owed;
	// The last one.
	struct gs_ping_answer pong;
	uint64_t round_trip_ns;
	uint64_t backoff_ns, try_ns;
	// Of the mailbox that was read last; where its next finding lies.
	uint64_t instance[2], next;
	struct records records;
};

static void tell(struct watch *watch, bool changed)
{
	if (changed)
		watch->options->verdict(watch->arg, &watch->verdict,
					watch->open ? watch->host.header->release : "");
}

static void take_finding(void *arg, const struct gs_record *record)
{
	struct watch *watch = arg;
	struct verdict_finding finding = {
		.detector = record->detector_name,
		.alarm = record->alarm,
		.state = record->state,
		.message = gs_record_text(record),
	};

	watch->options->finding(watch->arg, record, watch->records.position);
	tell(watch, verdict_note(&watch->verdict, clock_ns(CLOCK_MONOTONIC), &finding));
}

static struct gs_error *take_entry(void *arg, const struct gs_mailbox_entry *entry,
				   const void *record)
{
	struct watch *watch = arg;

	watch->next = entry->commit - 1 + gs_mailbox_entry_slots(entry->size);
	return records_take(&watch->records, entry, record);
}

static void close_host(struct watch *watch, bool bye)
{
	records_deinit(&watch->records);
	watch->records = (struct records){};
	host_close(&watch->host, bye);
	watch->open = false;
}

// A session, beside the one that there is. Another mailbox begins with its oldest finding.
static struct gs_error *open_host(struct watch *watch)
{
	const struct watch_options *options = watch->options;
	struct host fresh = {};
	struct gs_error *err = host_open(&fresh, watch->address, &options->host, options->symbols);
	uint64_t answer_ns = options->interval_ns;

	if (err)
		return err;
	close_host(watch, false);
	watch->host = fresh;
	watch->open = true;
	watch->owed = false;
	watch->backoff_ns = 0;
	watch->records = (struct records){
		.reader = watch->host.reader,
		.symbolize = host_symbolize,
		.symbolize_arg = &watch->host,
		.kinds = UINT32_MAX,
		.fn = take_finding,
		.arg = watch,
	};
	if (answer_ns < ANSWER_MIN_NS)
		answer_ns = ANSWER_MIN_NS;
	if (answer_ns > options->host.timeout_ns)
		answer_ns = options->host.timeout_ns;
	mailbox_client_set_timeout(watch->host.client, answer_ns);

	bool anew =
		memcmp(watch->instance, watch->host.header->instance, sizeof(watch->instance)) != 0;

	if (options->opened)
		options->opened(watch->arg, &watch->host, anew);
	if (!anew) {
		mailbox_seek(watch->host.reader, GS_MAILBOX_FINDINGS, watch->next);
		return NULL;
	}
	memcpy(watch->instance, watch->host.header->instance, sizeof(watch->instance));
	watch->next = 0;
	tell(watch, verdict_restart(&watch->verdict, clock_ns(CLOCK_MONOTONIC)));
	return NULL;
}

// One heartbeat. Its answer says how the engine is; what it has found is there to be read.
static struct gs_error *beat(struct watch *watch)
{
	struct gs_error *err = watch->owed ? mailbox_client_synchronise(watch->host.client) : NULL;

	if (!err) {
		uint64_t sent_ns = clock_ns(CLOCK_MONOTONIC);

		watch->owed = true;
		err = mailbox_client_ping(watch->host.client, &watch->pong);
		watch->owed = err;
		watch->round_trip_ns = clock_ns(CLOCK_MONOTONIC) - sent_ns;
	}
	return err;
}

static struct gs_error *poll_findings(struct watch *watch)
{
	uint64_t count = 1;
	struct gs_error *err = NULL;

	while (!err && count)
		err = mailbox_poll(watch->host.reader, GS_MAILBOX_FINDINGS, take_entry, watch,
				   &count);
	return err;
}

static void try_again_later(struct watch *watch)
{
	watch->backoff_ns = watch->backoff_ns ? 2 * watch->backoff_ns : BACKOFF_NS;
	if (watch->backoff_ns > BACKOFF_MAX_NS)
		watch->backoff_ns = BACKOFF_MAX_NS;
	watch->try_ns = clock_ns(CLOCK_MONOTONIC) + watch->backoff_ns;
}

// A new session, if it is time for one. One that is there and silent is kept until a new one is: a dead system gives
// out none.
static struct gs_error *reach(struct watch *watch)
{
	bool silent = watch->open && watch->verdict.state == VERDICT_UNREACHABLE;

	if ((watch->open && !silent) || clock_ns(CLOCK_MONOTONIC) < watch->try_ns)
		return NULL;

	struct gs_error *err = open_host(watch);

	if (err)
		try_again_later(watch);
	return err;
}

// @return an answer has come.
static bool look(struct watch *watch)
{
	struct gs_error *err = reach(watch), *link = NULL;
	bool answered;

	if (!err && !watch->open)
		return false;
	if (watch->open) {
		// Why there is no new session matters less than that the old one is silent.
		gs_error_destroy(err);
		err = beat(watch);
		// What was found is told before what is made of it.
		link = poll_findings(watch);
	}
	if (err)
		tell(watch, verdict_miss(&watch->verdict, clock_ns(CLOCK_MONOTONIC), err->message));
	else if (!link)
		tell(watch, verdict_answer(&watch->verdict, clock_ns(CLOCK_MONOTONIC)));
	if (link && !err)
		tell(watch,
		     verdict_miss(&watch->verdict, clock_ns(CLOCK_MONOTONIC), link->message));
	answered = watch->open && !err && !link;
	// Nothing can be read: the link is gone, and does not come back by itself.
	if (link) {
		close_host(watch, false);
		watch->try_ns = 0;
	}
	gs_error_destroy(err);
	gs_error_destroy(link);
	return answered;
}

static void look_and_tell(struct watch *watch)
{
	bool answered = look(watch);
	struct watch_look seen = {
		.verdict = &watch->verdict,
		.host = watch->open ? &watch->host : NULL,
		.pong = answered ? &watch->pong : NULL,
		.round_trip_ns = watch->round_trip_ns,
	};

	if (watch->options->looked)
		watch->options->looked(watch->arg, &seen);
}

enum verdict_state watch_host(const struct host_address *address,
			      const struct watch_options *options, void *arg)
{
	struct watch watch = {
		.arg = arg,
		.address = address,
		.options = options,
		.verdict.rules = options->rules,
	};
	uint64_t next = clock_ns(CLOCK_MONOTONIC);

	bool go_on = true;

	while (go_on) {
		look_and_tell(&watch);
		if (options->once && watch.verdict.state != VERDICT_NONE)
			break;
		next += options->interval_ns;

		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		// What was missed is skipped.
		if (next < now)
			next = now;
		go_on = watch_end_sleep(options->end, next - now);
	}
	close_host(&watch, true);
	return watch.verdict.state;
}
