// SPDX-License-Identifier: Apache-2.0
#include "target/sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "util/array.h"

// Fixed, and read without a lock: the handler may interrupt any code.
static struct slot {
	uintptr_t begin, end;
	char name[256];
} slots[64];

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

void gs_sigbus_remember(const void *address, size_t size, const char *name)
{
	pthread_mutex_lock(&slots_lock);
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		struct slot *slot = &slots[i];

		if (slot->end)
			continue;
		strncpy(slot->name, name, sizeof(slot->name) - 1);
		slot->begin = (uintptr_t)address;
		// The end makes the slot valid, hence last.
		__atomic_store_n(&slot->end, (uintptr_t)address + size, __ATOMIC_RELEASE);
		break;
	}
	pthread_mutex_unlock(&slots_lock);
}

void gs_sigbus_forget(const void *address)
{
	pthread_mutex_lock(&slots_lock);
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		if (slots[i].end && slots[i].begin == (uintptr_t)address) {
			__atomic_store_n(&slots[i].end, 0, __ATOMIC_RELEASE);
			break;
		}
	}
	pthread_mutex_unlock(&slots_lock);
}

static void say(const char *text)
{
	// Nothing can be done about a standard error that takes no text.
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void handler(int sig, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;

	(void)context;
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		uintptr_t end = __atomic_load_n(&slots[i].end, __ATOMIC_ACQUIRE);

		if (end && address >= slots[i].begin && address < end) {
			say("gpusentinel: ");
			say(slots[i].name);
			say(": memory went away while it was read: the file shrank, no huge "
			    "page was left for it, or a page of it is poisoned\n");
			_exit(GS_ERROR_TARGET);
		}
	}
	// SA_RESETHAND took this handler away: the instruction faults again, with the default effect.
	// A SIGBUS that somebody sent does not come back by itself.
	if (info->si_code <= 0)
		raise(sig);
}

struct gs_error *gs_target_guard_sigbus(void)
{
	struct sigaction action = {
		.sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_RESETHAND,
	};

	if (sigaction(SIGBUS, &action, NULL) < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "cannot handle SIGBUS");
	return NULL;
}
