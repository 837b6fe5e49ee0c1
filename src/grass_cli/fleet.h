/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Many hosts that are watched at once, each by a thread that mostly sleeps.
 */
#ifndef GS_GRASS_CLI_FLEET_H
#define GS_GRASS_CLI_FLEET_H

#include "cli/cli.h"
#include "grass_cli/watch.h"

/** Options of all commands that watch: -i, --misses, --answers, --symbols. */
#define FLEET_SHORT_OPTIONS "i:"
enum { FLEET_MISSES = CLI_OPTION_COMMAND, FLEET_ANSWERS, FLEET_SYMBOLS, FLEET_OPTION_END };
#define FLEET_LONG_OPTIONS                                             \
	{ "interval", required_argument, NULL, 'i' },                  \
		{ "misses", required_argument, NULL, FLEET_MISSES },   \
		{ "answers", required_argument, NULL, FLEET_ANSWERS }, \
	{                                                              \
		"symbols", no_argument, NULL, FLEET_SYMBOLS            \
	}

/** What they are if nobody says otherwise. */
void fleet_defaults(struct watch_options *options);
struct gs_error *fleet_option(struct watch_options *options, int c, const char *arg);

/**
 * Watch all hosts until the user has had enough (interrupt_catch()), or all have ended.
 * @param args For the callbacks in @p options: one for each host, of @p size bytes.
 * @param go_on Asked now and then; false ends it, too. NULL: nobody is asked.
 * @param dead_ret Of those that have ended, how many are not alive.
 */
struct gs_error *fleet_watch(const struct hosts *hosts, struct watch_options *options, void *args,
			     size_t size, bool (*go_on)(void *arg), void *arg, size_t *dead_ret);

#endif
