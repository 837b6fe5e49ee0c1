// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

static volatile bool stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = true;
}

const volatile bool *interrupt_catch(void)
{
	// Without SA_RESTART, so that a call that waits returns.
	struct sigaction action = { .sa_handler = stop };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return &stopped;
}

bool interrupt_sleep(uint64_t ns)
{
	struct timespec now;
	uint64_t until;

	clock_gettime(CLOCK_MONOTONIC, &now);
	until = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + ns;
	// A signal that comes just before the call costs this long.
	while (!stopped) {
		uint64_t at, left;

		clock_gettime(CLOCK_MONOTONIC, &now);
		at = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
		if (at >= until)
			return true;
		left = until - at < 200000000 ? until - at : 200000000;
		nanosleep(&(struct timespec){ .tv_nsec = (long)left }, NULL);
	}
	return false;
}
