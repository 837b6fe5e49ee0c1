/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Snapshots of hosts as one text that Prometheus scrapes. grass-exporter(1) has the list of what is in it.
 */
#ifndef GS_GRASS_CLI_EXPOSITION_H
#define GS_GRASS_CLI_EXPOSITION_H

#include "grass_cli/snapshot.h"

/** Names of what detectors measure begin with this, of all else with "grass_": neither can be taken for the other. */
#define EXPOSITION_PREFIX "gpusentinel_"

/**
 * Name of the family and value of metric @p name of a detector: "memory", "free_kb", 4 become
 * "gpusentinel_memory_free_bytes", 4096. Any text is allowed.
 */
void exposition_metric(const char *detector, const char *name, double value, char *buf, size_t len,
		       double *value_ret);

/**
 * Write all of them, each family in one piece.
 * @param now_ns CLOCK_MONOTONIC, for values that are times since.
 */
void exposition_write(struct om *om, struct snapshot *const *snapshots, size_t count,
		      uint64_t now_ns);

#endif
