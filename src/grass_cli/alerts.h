/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What holds at hosts, posted to Alertmanager (API v2) again and again until it does not hold any more.
 */
#ifndef GS_GRASS_CLI_ALERTS_H
#define GS_GRASS_CLI_ALERTS_H

#include <json-c/json.h>

#include "grass_cli/observe.h"

/** What has been posted and must be told to be over. Zero-initialise; end it with alerts_deinit(). */
struct alerts {
	struct known_alert *known;
	size_t count, capacity;
};

void alerts_deinit(struct alerts *alerts);

/**
 * The message to post, or an empty array.
 * @param now_ns Nanoseconds since the epoch; alerts that hold end at @p end_ns unless they are posted again.
 * @param changed_ret Something has begun or ended.
 */
struct json_object *alerts_message(struct alerts *alerts, struct snapshot *const *snapshots,
				   size_t count, uint64_t now_ns, uint64_t end_ns,
				   bool *changed_ret);
/** The message has arrived: what is over need not be told again. */
void alerts_posted(struct alerts *alerts);

struct poster;

/** Post by a thread of its own. @param url Of Alertmanager, "http://HOST:9093". */
struct gs_error *poster_start(const char *url, struct observed *hosts, size_t count,
			      struct watch_end *end, struct poster **ret);
/** How many messages arrived, and how many did not. NULL is allowed: none. */
void poster_counts(struct poster *poster, uint64_t *posted_ret, uint64_t *failed_ret);
/** After watch_end_now(). NULL is allowed. */
void poster_stop(struct poster *poster);

#endif
