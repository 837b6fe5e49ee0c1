/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * `gpusentinel serve`, between its files: options and the start (cmd_serve.c), and its configuration (serve_config.c).
 */
#ifndef GS_CLI_SERVE_H
#define GS_CLI_SERVE_H

#include "cli/config.h"
#include "cli/running.h"
#include "cli/state.h"

enum { SERVE_LISTEN_MAX = 8 };

/** Zero-initialise; end it with serve_deinit(). */
struct serve {
	struct running running;
	/** NULL: not given. */
	const char *keys, *name, *fabric, *device, *state_directory;
	const char *listen[SERVE_LISTEN_MAX];
	size_t listen_count;
	/** Of the command line; they come before what the configuration says. */
	char *const *operands;
	size_t operand_count;
	struct {
		const char *detectors, *rules;
		uint64_t budget;
	} given;

	/** NULL: there is none. */
	const char *config_path;
	/** As it was at the start, and as it is now; NULL: the same. */
	struct config config, *reloaded;

	/** Without a directory nothing is kept. */
	struct state state;
	/** When it is looked next how far numbers have come, CLOCK_MONOTONIC in nanoseconds. */
	uint64_t claim_ns;
};

void serve_deinit(struct serve *serve);

/** Load the configuration, and take from it what the command line leaves open. */
struct gs_error *serve_configure(struct serve *serve);

/** The detectors to be run, of the command line or of @p config (may be NULL): @p ret ends with serve_free_names(). */
struct gs_error *serve_names(const struct serve *serve, const struct config *config, char ***ret,
			     size_t *count_ret);
void serve_free_names(char **names, size_t count);

/** Take the configuration anew, as far as that can be done while it runs. False: something is wrong, which is told, and nothing has changed. */
bool serve_reload(struct serve *serve);

#endif
