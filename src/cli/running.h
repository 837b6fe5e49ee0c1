/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What `run` and `serve` share: detectors that run on their periods until a signal comes, and what they find, printed.
 */
#ifndef GS_CLI_RUNNING_H
#define GS_CLI_RUNNING_H

#include <pthread.h>

#include "cli/chosen.h"
#include "cli/cli.h"
#include "cli/params.h"
#include "cli/stream.h"

/** What else is done while detectors run, by the thread that waits. */
struct running_hooks {
	/** SIGHUP has come; NULL: that ends the run. */
	void (*reload)(void *arg);
	/** About once a second. */
	void (*tick)(void *arg);
	/** Somebody wants something at this file descriptor; negative: none. */
	int fd;
	void (*ready)(void *arg);
};

/** Zero-initialise but for @ref cli and @ref for_ns; end it with running_deinit(). */
struct running {
	struct cli *cli;
	struct stream stream;
	/** Of @ref stream and what it holds, against records that come meanwhile. */
	pthread_mutex_t lock;
	struct chosen chosen;
	struct params params;
	/** What the command line leaves open of detectors' periods and parameters; may be NULL. */
	const struct config *config;
	/** Of rules over the kernel's log; NULL: those that are shipped. */
	const char *rules;
	uint32_t period_us;
	/** How long; negative: until a signal comes. */
	int64_t for_ns;
	/** Print nothing; nobody here takes in what is found. */
	bool quiet;
	/** Findings so far, by enum gs_severity: what happened, and what began. Under @ref lock. */
	uint64_t told[GS_CRITICAL + 1];
	/** When the last change of detectors began, nanoseconds since the epoch. */
	uint64_t changed_ns;
	/** Becomes readable when a signal says to end. */
	int signals;
};

/** Options of these commands; their own are from RUNNING_OPTION_COMMAND on. */
enum {
	RUNNING_OPTION_FOR = CLI_OPTION_COMMAND,
	RUNNING_OPTION_PERIOD,
	RUNNING_OPTION_RULES,
	RUNNING_OPTION_ROWS,
	RUNNING_OPTION_METRICS,
	RUNNING_OPTION_COMMAND,
};

/** In a table of options, and as their characters. */
#define RUNNING_OPTIONS                                                       \
	{ "for", required_argument, NULL, RUNNING_OPTION_FOR },               \
		{ "period", required_argument, NULL, RUNNING_OPTION_PERIOD }, \
		{ "param", required_argument, NULL, 'p' },                    \
		{ "rules", required_argument, NULL, RUNNING_OPTION_RULES },   \
		{ "rows", no_argument, NULL, RUNNING_OPTION_ROWS },           \
	{                                                                     \
		"metrics", no_argument, NULL, RUNNING_OPTION_METRICS          \
	}
#define RUNNING_SHORT_OPTIONS "p:"

/** Take one of them. */
struct gs_error *running_option(struct running *running, int c, const char *arg);

/**
 * Open the engine, and the detectors that are named; none: all that are shipped. Signals that end it are taken from now on,
 * unless it is to run @p once.
 */
struct gs_error *running_open(struct running *running, bool once, char *const *names, size_t count);
/** Go over to other detectors, rules, periods and parameters, while those that stay go on. On errors everything is as before. */
struct gs_error *running_change(struct running *running, const struct config *config,
				char *const *names, size_t count);

/** Start them all. */
struct gs_error *running_start(struct running *running);
/** Wait for a signal, the time that --for gave, the end of whoever reads standard output, or that of the detectors. @p hooks
 * may be NULL. */
void running_wait(struct running *running, const struct running_hooks *hooks, void *arg);
/** Stop them, and tell of each what it did. @return what has made detectors end. */
struct gs_error *running_stop(struct running *running);

void running_deinit(struct running *running);

#endif
