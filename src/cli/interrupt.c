// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "util/clock.h"

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
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ns;

	// A signal that comes just before the call costs this long.
	while (!stopped) {
		uint64_t at = clock_ns(CLOCK_MONOTONIC);

		if (at >= until)
			return true;

		uint64_t left = until - at < 200000000 ? until - at : 200000000;
		struct timespec time = clock_timespec(left);

		nanosleep(&time, NULL);
	}
	return false;
}
