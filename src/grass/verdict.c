// SPDX-License-Identifier: Apache-2.0
#include "grass/verdict.h"

#include <stdio.h>
#include <string.h>

// Of the detector panic: that there is one, and then why. Of the log: the kernel's own words.
#define PANIC "kernel panic: "
#define LOG_PANIC "Kernel panic - not syncing: "

const char *verdict_name(enum verdict_state state)
{
	static const char *const names[] = {
		[VERDICT_NONE] = "none",
		[VERDICT_ALIVE] = "alive",
		[VERDICT_OS_DEAD] = "os-dead",
		[VERDICT_UNREACHABLE] = "unreachable",
	};

	return names[state];
}

static enum verdict_state judge(const struct verdict *verdict, const char **why_ret)
{
	*why_ret = "";
	if (!verdict->reachable && verdict->misses < verdict->rules.misses &&
	    verdict->state == VERDICT_NONE)
		return VERDICT_NONE;
	if (!verdict->reachable) {
		*why_ret = verdict->silence;
		return VERDICT_UNREACHABLE;
	}
	if (verdict->panicked || verdict->standstill) {
		*why_ret = verdict->panicked ? verdict->panic : verdict->stands;
		return VERDICT_OS_DEAD;
	}
	return VERDICT_ALIVE;
}

static bool update(struct verdict *verdict, uint64_t now_ns)
{
	const char *why;
	enum verdict_state state = judge(verdict, &why);

	if (state == verdict->state) {
		// Why there is no answer may be told anew each time.
		if (state != VERDICT_OS_DEAD || !strcmp(why, verdict->why))
			return false;
		snprintf(verdict->why, sizeof(verdict->why), "%s", why);
		return true;
	}
	if (state == VERDICT_UNREACHABLE)
		now_ns = verdict->first_miss_ns;
	verdict->before = verdict->state;
	verdict->lasted_ns = verdict->before == VERDICT_NONE || now_ns < verdict->since_ns
				     ? 0
				     : now_ns - verdict->since_ns;
	verdict->state = state;
	verdict->since_ns = now_ns;
	snprintf(verdict->why, sizeof(verdict->why), "%s", why);
	return true;
}

bool verdict_answer(struct verdict *verdict, uint64_t now_ns)
{
	verdict->misses = 0;
	if (verdict->answers < verdict->rules.answers)
		verdict->answers++;
	// The first one of all is as good as any number.
	if (verdict->state == VERDICT_NONE || verdict->answers >= verdict->rules.answers)
		verdict->reachable = true;
	return update(verdict, now_ns);
}

bool verdict_miss(struct verdict *verdict, uint64_t now_ns, const char *why)
{
	verdict->answers = 0;
	if (!verdict->misses)
		verdict->first_miss_ns = now_ns;
	if (verdict->misses < verdict->rules.misses)
		verdict->misses++;
	if (verdict->misses >= verdict->rules.misses)
		verdict->reachable = false;
	snprintf(verdict->silence, sizeof(verdict->silence), "%s", why);
	return update(verdict, now_ns);
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static void note_panic(struct verdict *verdict, const char *reason, size_t size)
{
	verdict->panicked = true;
	snprintf(verdict->panic, sizeof(verdict->panic), PANIC "%.*s", (int)size, reason);
}

bool verdict_note(struct verdict *verdict, uint64_t now_ns, const struct verdict_finding *finding)
{
	const char *message = finding->message;

	if (!strcmp(finding->detector, "panic") && finding->state == GS_EVENT) {
		if (begins(message, PANIC))
			message += strlen(PANIC);
		// Behind it come CPU, task and stack.
		note_panic(verdict, message, strcspn(message, ";"));
	} else if (!strcmp(finding->detector, "log") && begins(message, LOG_PANIC)) {
		note_panic(verdict, message + strlen(LOG_PANIC),
			   strlen(message) - strlen(LOG_PANIC));
	} else if (!strcmp(finding->detector, "lockup") && !strcmp(finding->alarm, "standstill")) {
		verdict->standstill = finding->state != GS_CLOSED;
		// It counts on while it lasts; once is enough.
		if (finding->state == GS_OPEN)
			snprintf(verdict->stands, sizeof(verdict->stands), "%s", message);
	} else {
		return false;
	}
	return update(verdict, now_ns);
}

bool verdict_restart(struct verdict *verdict, uint64_t now_ns)
{
	verdict->panicked = verdict->standstill = false;
	return update(verdict, now_ns);
}
