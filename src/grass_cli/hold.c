// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/hold.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "grass_cli/lend.h"
#include "grass_cli/watch.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)
// How often is looked whether a link is still there, and after how long a host that is not is tried again at most.
#define LOOK_NS (10 * SECOND)
#define BACKOFF_MAX_NS (32 * SECOND)

enum {
	// Borrowers at a time, those that wait included.
	BORROWERS = 64,
};

// A host. Who has the lock has its session.
struct held {
	struct hold *hold;
	const struct host_address *address;
	pthread_mutex_t lock;
	struct host host;
	bool open;
	// Of the heartbeat that was seen last.
	uint64_t beats;
	pthread_t thread;
};

struct hold {
	const struct host_options *options;
	void (*log)(const char *line);
	char *path;
	int listener, wake;
	struct watch_end end;
	struct held *helds;
	size_t count, started;
	pthread_t acceptor;
	bool accepts;
	// Connections of borrowers; negative: none. Under the lock.
	pthread_mutex_t lock;
	pthread_cond_t left;
	int borrowers[BORROWERS];
	size_t borrower_count;
};

static void say(const struct held *held, const char *what, const char *why)
{
	_cleanup_free_ char *line = NULL;

	if (asprintf(&line, "%s: %s%s%s", held->address->name, what, why ? ": " : "",
		     why ? why : "") < 0) {
		line = NULL;
		return;
	}
	held->hold->log(line);
}

static void lose(struct held *held, const char *why)
{
	say(held, "lost", why);
	host_close(&held->host, false);
	held->open = false;
}

// Whether there is a session, and a heart behind it that beats.
static bool beats(struct held *held)
{
	struct gs_mailbox_heartbeat beat = {};
	struct gs_error *err = held->open ? mailbox_read_heartbeat(held->host.reader, &beat) : NULL;
	bool ret = held->open && !err && beat.counter != held->beats;

	if (err)
		lose(held, err->message);
	gs_error_destroy(err);
	held->beats = beat.counter;
	return ret;
}

// Under its lock. A session without heartbeat is kept until there is a new one: gpusentinel may have begun anew there, or
// be stopped for a while. @return false if it has none.
static bool keep(struct held *held)
{
	struct host fresh = {};
	struct gs_error *err;

	if (beats(held))
		return true;
	err = host_open(&fresh, held->address, held->hold->options, true);
	if (!err) {
		host_close(&held->host, true);
		held->host = fresh;
		held->open = true;
		held->beats = 0;
		say(held, "held", NULL);
	}
	bool ret = !err;

	gs_error_destroy(err);
	return ret;
}

static void *keeper(void *arg)
{
	struct held *held = arg;
	uint64_t backoff_ns = SECOND, wait_ns;

	do {
		wait_ns = LOOK_NS;
		// A session that is lent is used.
		if (!pthread_mutex_trylock(&held->lock)) {
			bool kept = keep(held);

			pthread_mutex_unlock(&held->lock);
			wait_ns = kept ? LOOK_NS : backoff_ns;
			backoff_ns = kept ? SECOND : 2 * backoff_ns;
			if (backoff_ns > BACKOFF_MAX_NS)
				backoff_ns = BACKOFF_MAX_NS;
		}
	} while (watch_end_sleep(&held->hold->end, wait_ns));
	return NULL;
}

static bool lock_in_time(struct held *held)
{
	struct timespec until =
		clock_timespec(clock_ns(CLOCK_MONOTONIC) + held->hold->options->timeout_ns);

	return !pthread_mutex_clocklock(&held->lock, CLOCK_MONOTONIC, &until);
}

static void lend(struct held *held, int fd)
{
	_cleanup_free_ uint8_t *data = malloc(HOLD_SIZE_MAX);

	if (!lock_in_time(held)) {
		lend_refuse(fd, "another program has the connection to it");
		return;
	}
	if (!held->open || !data)
		lend_refuse(fd, "there is no connection to it");
	else
		lend_host(fd, &held->host, data);
	pthread_mutex_unlock(&held->lock);
}

static struct held *find_held(struct hold *hold, const char *name)
{
	for (size_t i = 0; i < hold->count; i++) {
		if (!strcmp(hold->helds[i].address->name, name))
			return &hold->helds[i];
	}
	return NULL;
}

struct borrower {
	struct hold *hold;
	size_t index;
	int fd;
};

static void serve_borrower(const struct borrower *borrower)
{
	char name[HOST_NAME_MAX_SIZE];

	if (!lend_hear(borrower->fd, name))
		return;

	struct held *held = find_held(borrower->hold, name);

	if (held)
		lend(held, borrower->fd);
	else
		lend_refuse(borrower->fd, "grass hold does not hold it");
}

static void *borrower_thread(void *arg)
{
	struct borrower *borrower = arg;
	struct hold *hold = borrower->hold;

	serve_borrower(borrower);
	pthread_mutex_lock(&hold->lock);
	hold->borrowers[borrower->index] = -1;
	close(borrower->fd);
	hold->borrower_count--;
	pthread_cond_broadcast(&hold->left);
	pthread_mutex_unlock(&hold->lock);
	free(borrower);
	return NULL;
}

// Takes the connection.
static void accept_borrower(struct hold *hold, int fd)
{
	struct borrower *borrower = calloc(1, sizeof(*borrower));
	pthread_t thread;
	size_t i = 0;
	int result = ENOMEM;

	pthread_mutex_lock(&hold->lock);
	while (i < BORROWERS && hold->borrowers[i] >= 0)
		i++;
	if (borrower && i < BORROWERS) {
		*borrower = (struct borrower){ hold, i, fd };
		result = watch_thread(&thread, borrower_thread, borrower);
	}
	if (result) {
		close(fd);
		free(borrower);
	} else {
		pthread_detach(thread);
		hold->borrowers[i] = fd;
		hold->borrower_count++;
	}
	pthread_mutex_unlock(&hold->lock);
}

static void *acceptor(void *arg)
{
	struct hold *hold = arg;
	struct pollfd fds[] = { { hold->listener, POLLIN, 0 }, { hold->wake, POLLIN, 0 } };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;

		int fd = fds[0].revents ? accept4(hold->listener, NULL, NULL, SOCK_CLOEXEC) : -1;

		if (fd >= 0)
			accept_borrower(hold, fd);
		else if (fds[0].revents)
			// Short of descriptors, as a rule: others end.
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
}

// A socket that nobody listens on any more is replaced.
static struct gs_error *listen_at(struct hold *hold, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat status;

	if (strlen(path) >= sizeof(address.sun_path))
		return gs_error_create(GS_ERROR_USAGE, "%s is too long for a socket", path);
	strcpy(address.sun_path, path);
	if (probe >= 0 && !connect(probe, (struct sockaddr *)&address, sizeof(address)))
		return gs_error_create(GS_ERROR_OTHER, "%s: a grass hold is there already", path);
	if (!lstat(path, &status) && !S_ISSOCK(status.st_mode))
		return gs_error_create(GS_ERROR_OTHER, "%s is no socket", path);
	unlink(path);
	hold->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	// For this user alone from the first moment on.
	mode_t mask = umask(0177);
	int bound = hold->listener < 0
			    ? -1
			    : bind(hold->listener, (struct sockaddr *)&address, sizeof(address));

	umask(mask);
	hold->path = bound ? NULL : strdup(path);
	if (bound || !hold->path || listen(hold->listener, BORROWERS))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
	return NULL;
}

static struct gs_error *start_threads(struct hold *hold, const struct hosts *hosts)
{
	int result = 0;

	for (; hold->started < hosts->count && !result; hold->started += !result) {
		struct held *held = &hold->helds[hold->started];

		held->hold = hold;
		held->address = &hosts->list[hold->started];
		pthread_mutex_init(&held->lock, NULL);
		result = watch_thread(&held->thread, keeper, held);
	}
	hold->count = hold->started;
	if (!result)
		result = pthread_create(&hold->acceptor, NULL, acceptor, hold);
	hold->accepts = !result;
	return result ? gs_error_errno(GS_ERROR_OTHER, result, "no thread") : NULL;
}

struct gs_error *hold_start(const char *path, const struct hosts *hosts,
			    const struct host_options *options, void (*log)(const char *line),
			    struct hold **ret)
{
	struct hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return &gs_enomem;
	hold->options = options;
	hold->log = log;
	hold->listener = -1;
	hold->wake = eventfd(0, EFD_CLOEXEC);
	hold->helds = calloc(hosts->count, sizeof(*hold->helds));
	watch_end_init(&hold->end);
	pthread_mutex_init(&hold->lock, NULL);
	pthread_cond_init(&hold->left, NULL);
	for (size_t i = 0; i < BORROWERS; i++)
		hold->borrowers[i] = -1;

	struct gs_error *err = hold->helds && hold->wake >= 0 ? listen_at(hold, path) : &gs_enomem;

	if (!err)
		err = start_threads(hold, hosts);
	if (err) {
		hold_stop(hold);
		return err;
	}
	*ret = hold;
	return NULL;
}

// Nobody borrows any more.
static void end_borrowers(struct hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	for (size_t i = 0; i < BORROWERS; i++) {
		if (hold->borrowers[i] >= 0)
			shutdown(hold->borrowers[i], SHUT_RDWR);
	}
	while (hold->borrower_count)
		pthread_cond_wait(&hold->left, &hold->lock);
	pthread_mutex_unlock(&hold->lock);
}

void hold_stop(struct hold *hold)
{
	if (!hold)
		return;
	watch_end_now(&hold->end);
	if (hold->accepts) {
		if (write(hold->wake, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
			hold->log("cannot wake a thread");
		pthread_join(hold->acceptor, NULL);
		end_borrowers(hold);
	}
	for (size_t i = 0; i < hold->started; i++) {
		struct held *held = &hold->helds[i];

		pthread_join(held->thread, NULL);
		host_close(&held->host, true);
		pthread_mutex_destroy(&held->lock);
	}
	if (hold->path)
		unlink(hold->path);
	if (hold->listener >= 0)
		close(hold->listener);
	if (hold->wake >= 0)
		close(hold->wake);
	pthread_cond_destroy(&hold->left);
	pthread_mutex_destroy(&hold->lock);
	watch_end_deinit(&hold->end);
	free(hold->helds);
	free(hold->path);
	free(hold);
}
