/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The directory in which a service keeps what it must know after a restart (state.c), and where it is asked how it is.
 *
 * DIR/lock is held by the service. DIR/sequence.json says from where the numbers of the mailbox go on. As long as the service
 * runs, that is a number which they do not reach before it is written anew: who is killed uses none twice. At the end it is
 * the exact one.
 */
#ifndef GS_CLI_STATE_H
#define GS_CLI_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include <gpusentinel/engine.h>

/** Where a service keeps it unless something else is said. */
#define STATE_DIRECTORY "/run/gpusentinel"

/** Zero-initialise with @ref lock negative; end it with state_deinit(). */
struct state {
	char *directory;
	int lock;
	/** Of this boot; and what is watched. */
	char boot[64];
	const char *target;
	/** What is written in the file. */
	struct gs_mailbox_progress claimed;
};

/**
 * Take the directory, which is made if only its last part is missing, and claim numbers in it.
 *
 * A file that is damaged, of another boot or of another target is told on standard error, and numbers begin anew.
 *
 * @param target Lives as long as the state.
 * @param has_ret Whether there is something to go on from, in @p ret.
 * @return GS_ERROR_OTHER if another service holds it, or it cannot be written.
 */
struct gs_error *state_open(struct state *state, const char *directory, const char *target,
			    struct gs_mailbox_progress *ret, bool *has_ret);

/** Claim more, if half of what was claimed is used. */
struct gs_error *state_claim(struct state *state, const struct gs_mailbox_progress *now);
/** The service has ended in good order: nothing is left out by the next one. */
struct gs_error *state_settle(struct state *state, const struct gs_mailbox_progress *now);
void state_deinit(struct state *state);

/**
 * Read @p size bytes of the file.
 * @return NULL, or why it does not say from where to go on.
 */
const char *state_parse(const char *text, size_t size, const char *boot, const char *target,
			struct gs_mailbox_progress *ret);

/** DIRECTORY/NAME, to be freed; NULL: no memory. */
char *state_path(const char *directory, const char *name);

#endif
