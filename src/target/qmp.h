/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A client of the QEMU machine protocol: one question, one answer, never longer than a deadline.
 */
#ifndef GS_TARGET_QMP_H
#define GS_TARGET_QMP_H

#include <stddef.h>
#include <sys/types.h>

#include <gpusentinel/error.h>

struct json_object;
struct gs_qmp;

/**
 * Connect, and leave negotiation mode. QEMU serves one client at a time on a socket, so keep it short.
 *
 * @param timeout_ms For connecting, and for each answer.
 * @return GS_ERROR_TARGET: no socket, no permission, nobody listens, or no greeting in time since
 *         another client holds the socket.
 */
struct gs_error *gs_qmp_connect(const char *path, int timeout_ms, struct gs_qmp **ret);

void gs_qmp_disconnect(struct gs_qmp *qmp);

/** Process that listens on the socket (SO_PEERCRED); 0 if it is not visible from here. */
pid_t gs_qmp_peer(const struct gs_qmp *qmp);

/**
 * Execute a command.
 *
 * @param arguments Taken; may be NULL.
 * @param ret What "return" holds; the caller ends it with json_object_put().
 * @return GS_ERROR_TARGET with QEMU's own description, or because it did not answer in time.
 */
struct gs_error *gs_qmp_execute(struct gs_qmp *qmp, const char *command,
				struct json_object *arguments, struct json_object **ret);

/** Execute a command of the human monitor. @param ret Its text; ended with free(). */
struct gs_error *gs_qmp_human(struct gs_qmp *qmp, const char *line, char **ret);

#endif
