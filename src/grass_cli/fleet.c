// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/fleet.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "cli/interrupt.h"
#include "grass_cli/grass.h"
#include "util/cleanup.h"

// So far apart from each other hosts are first asked, and so from then on, if the interval has room for all.
#define APART_NS UINT64_C(10000000)
// How often the main thread looks whether they go on.
#define LOOK_NS UINT64_C(200000000)

struct fleet {
	const struct watch_options *options;
	pthread_mutex_t lock;
	// Under the lock.
	size_t running, dead;
};

struct member {
	struct fleet *fleet;
	const struct host_address *address;
	// Before the first heartbeat.
	uint64_t wait_ns;
	void *arg;
	pthread_t thread;
};

void fleet_defaults(struct watch_options *options)
{
	options->interval_ns = UINT64_C(1000000000);
	options->rules = (struct verdict_rules){ .misses = 3, .answers = 2 };
}

struct gs_error *fleet_option(struct watch_options *options, int c, const char *arg)
{
	struct gs_error *err = NULL;
	uint64_t number = 0;

	switch (c) {
	case 'i':
		return grass_seconds("--interval", arg, &options->interval_ns);
	case FLEET_MISSES:
		err = cli_number("--misses", arg, 1, 1000, &number);
		options->rules.misses = (unsigned int)number;
		return err;
	case FLEET_ANSWERS:
		err = cli_number("--answers", arg, 1, 1000, &number);
		options->rules.answers = (unsigned int)number;
		return err;
	case FLEET_SYMBOLS:
		options->symbols = true;
		return NULL;
	}
	return gs_error_create(GS_ERROR_USAGE, "unknown option");
}

static void *watch_member(void *arg)
{
	struct member *member = arg;
	struct fleet *fleet = member->fleet;
	enum verdict_state state = VERDICT_NONE;

	if (watch_end_sleep(fleet->options->end, member->wait_ns))
		state = watch_host(member->address, fleet->options, member->arg);

	pthread_mutex_lock(&fleet->lock);
	fleet->running--;
	fleet->dead += state != VERDICT_ALIVE;
	pthread_mutex_unlock(&fleet->lock);
	return NULL;
}

static struct gs_error *start_member(struct fleet *fleet, struct member *member)
{
	pthread_mutex_lock(&fleet->lock);

	int result = watch_thread(&member->thread, watch_member, member);

	fleet->running += !result;
	pthread_mutex_unlock(&fleet->lock);
	if (!result)
		return NULL;
	return gs_error_errno(GS_ERROR_OTHER, result, "no thread to watch %s",
			      member->address->name);
}

static bool is_running(struct fleet *fleet)
{
	pthread_mutex_lock(&fleet->lock);

	bool ret = fleet->running;

	pthread_mutex_unlock(&fleet->lock);
	return ret;
}

// A session has two or three files, and the usual limit is 1024.
static void allow_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

struct gs_error *fleet_watch(const struct hosts *hosts, struct watch_options *options, void *args,
			     size_t size, bool (*go_on)(void *arg), void *arg, size_t *dead_ret)
{
	_cleanup_free_ struct member *members = calloc(hosts->count, sizeof(*members));
	struct fleet fleet = { .options = options };
	struct gs_error *err = members ? NULL : &gs_enomem;
	uint64_t apart_ns = options->interval_ns / hosts->count;
	size_t started = 0;
	sigset_t all, before;

	if (apart_ns > APART_NS)
		apart_ns = APART_NS;
	allow_files();
	pthread_mutex_init(&fleet.lock, NULL);
	// Signals are this thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!err && started < hosts->count) {
		members[started] = (struct member){
			.fleet = &fleet,
			.address = &hosts->list[started],
			.wait_ns = started * apart_ns,
			.arg = (char *)args + started * size,
		};
		err = start_member(&fleet, &members[started]);
		started += !err;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	while (!err && is_running(&fleet) && (!go_on || go_on(arg)) && interrupt_sleep(LOOK_NS))
		;
	watch_end_now(options->end);
	for (size_t i = 0; i < started; i++)
		pthread_join(members[i].thread, NULL);
	pthread_mutex_destroy(&fleet.lock);
	*dead_ret = fleet.dead;
	return err;
}
