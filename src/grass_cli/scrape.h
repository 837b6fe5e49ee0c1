/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The HTTP server that Prometheus scrapes.
 */
#ifndef GS_GRASS_CLI_SCRAPE_H
#define GS_GRASS_CLI_SCRAPE_H

#include <stdint.h>

#include "grass_cli/alerts.h"
#include "grass_cli/observe.h"

struct scrape;

/**
 * Serve /metrics about @p count hosts.
 * @param spec "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT" for all addresses.
 * @param poster Of which the numbers are shown, too; may be NULL.
 */
struct gs_error *scrape_start(const char *spec, uint16_t port, struct observed *hosts, size_t count,
			      struct poster *poster, struct scrape **ret);
/** Of the first address. */
uint16_t scrape_port(const struct scrape *scrape);
/** NULL is allowed. */
void scrape_stop(struct scrape *scrape);

/** The text, from malloc(). @param open_metrics Else in the older format. @return NULL if memory is short. */
char *scrape_text(struct observed *hosts, size_t count, struct poster *poster, bool open_metrics,
		  size_t *size_ret);

#endif
