/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * An authority and its certificates, for who has none: `grass keys`.
 *
 * A directory holds ca.crt and ca.key, and NAME.crt and NAME.key for each host and monitor; all in PEM, keys
 * (ECDSA on P-256) for their owner alone. A host needs ca.crt and its own two files, and so does a monitor; ca.key stays
 * where certificates are made.
 */
#ifndef GS_GRASS_KEYS_H
#define GS_GRASS_KEYS_H

#include <gpusentinel/error.h>

#include "grass/control.h"

/** Days for which certificates of the authority, and of hosts and monitors, are valid. */
#define GRASS_CA_DAYS 3650
#define GRASS_DAYS 825

/** Make @p directory if it is not there, and an authority in it. @return GS_ERROR_OTHER if there is one already. */
struct gs_error *grass_keys_make_ca(const char *directory);

/**
 * Make the certificate of a host (for its name in DNS or whatever monitors call it) or of a monitor.
 * @return GS_ERROR_USAGE for a name that is none: up to 63 letters, digits, '-', '_' and '.'.
 */
struct gs_error *grass_keys_make_host(const char *directory, const char *name);
struct gs_error *grass_keys_make_monitor(const char *directory, const char *name);

/** Where the files of @p name lie, whether they are there or not; end it with grass_keys_forget(). */
struct gs_error *grass_keys_find(const char *directory, const char *name,
				 struct grass_identity *ret);
void grass_keys_forget(struct grass_identity *identity);

#endif
