// SPDX-License-Identifier: Apache-2.0
// libsystemd is loaded when systemd asks for it: with what it needs itself, it would make a good part of the start of commands
// that only have a look.
#include "cli/notify.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <systemd/sd-daemon.h>

#include "util/clock.h"

static __typeof__(sd_notify) *tell;

struct gs_error *notify_open(void)
{
	if (!getenv("NOTIFY_SOCKET") || tell)
		return NULL;

	void *library = dlopen("libsystemd.so.0", RTLD_NOW);

	tell = library ? (__typeof__(tell))dlsym(library, "sd_notify") : NULL;
	if (tell)
		return NULL;
	return gs_error_create(GS_ERROR_OTHER,
			       "systemd waits to hear from this service (NOTIFY_SOCKET), and there "
			       "is no libsystemd.so.0 to tell it with: install libsystemd0");
}

static void say(const char *state)
{
	if (tell)
		tell(0, state);
}

void notify_ready(const char *status)
{
	char state[512];

	snprintf(state, sizeof(state), "READY=1\nSTATUS=%.400s", status);
	say(state);
}

void notify_reloading(void)
{
	char state[128];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 clock_ns(CLOCK_MONOTONIC) / 1000);
	say(state);
}

void notify_stopping(void)
{
	say("STOPPING=1");
}

void notify_alive(void)
{
	// Nobody waits for it unless the unit says so.
	if (getenv("WATCHDOG_USEC"))
		say("WATCHDOG=1");
}
