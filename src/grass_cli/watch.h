/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * One host that is watched: its answers, its findings, and what is made of them.
 */
#ifndef GS_GRASS_CLI_WATCH_H
#define GS_GRASS_CLI_WATCH_H

#include <pthread.h>

#include "grass/verdict.h"
#include "grass_cli/host.h"

/** Tells all threads that watch to end. */
struct watch_end {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ended;
};

void watch_end_init(struct watch_end *end);
void watch_end_deinit(struct watch_end *end);
void watch_end_now(struct watch_end *end);
/** @return false as soon as it is time to end; else after so many nanoseconds. */
bool watch_end_sleep(struct watch_end *end, uint64_t ns);

/** Start a thread that mostly sleeps: there may be a thousand. @return as pthread_create(). */
int watch_thread(pthread_t *ret, void *(*run)(void *arg), void *arg);

/** What came of one heartbeat. */
struct watch_look {
	const struct verdict *verdict;
	/** NULL: there is no session. */
	struct host *host;
	/** NULL: none has come in time. */
	const struct gs_ping_answer *pong;
	/** From sending the heartbeat until its answer was there. */
	uint64_t round_trip_ns;
};

struct watch_options {
	struct host_options host;
	struct verdict_rules rules;
	/** From one heartbeat to the next. */
	uint64_t interval_ns;
	/** Fetch the symbols of each host's kernel. */
	bool symbols;
	/** End when there is a verdict. */
	bool once;
	/** Both are called from the thread of the host. @p release: of its kernel; empty: unknown. */
	void (*verdict)(void *arg, const struct verdict *verdict, const char *release);
	/** @p number: what a reader goes on from. */
	void (*finding)(void *arg, const struct gs_record *record, uint64_t number);
	/** As above; NULL: nobody wants to know. Another session; @p fresh: what it reads has begun anew. */
	void (*opened)(void *arg, struct host *host, bool fresh);
	/** As above. After each heartbeat; while there is an answer, the host may be asked for more. */
	void (*looked)(void *arg, const struct watch_look *look);
	struct watch_end *end;
};

/**
 * Watch one host until its end, @ref watch_options.end.
 * @return what is made of it then.
 */
enum verdict_state watch_host(const struct host_address *address,
			      const struct watch_options *options, void *arg);

#endif
