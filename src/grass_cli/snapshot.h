/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What is known of a host at one moment, as samples for Prometheus and alerts for Alertmanager.
 *
 * The host's thread makes a new one after each heartbeat; whoever has one may keep it, and nobody changes it any more.
 */
#ifndef GS_GRASS_CLI_SNAPSHOT_H
#define GS_GRASS_CLI_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "grass/openmetrics.h"

/** Strings are offsets in struct snapshot's text. */
struct sample {
	/** Name of the family, and labels as om_labels() writes them. */
	size_t family, labels;
	double value;
	/** Not 0: the value is the seconds since then, CLOCK_MONOTONIC. */
	uint64_t since_ns;
};

/** Something that holds, and that somebody should know. */
struct alert {
	/** Offsets in the text. Empty labels are not sent. @ref key: of a condition, in decimal. */
	size_t name, host, detector, alarm, key, severity, summary;
	/** Nanoseconds since the epoch. */
	uint64_t starts_ns;
};

struct snapshot {
	unsigned int references;
	char *text;
	/** In order of family and labels; no two have both. */
	struct sample *samples;
	size_t sample_count, sample_capacity;
	struct alert *alerts;
	size_t alert_count, alert_capacity;
	/** While it is made. */
	FILE *out;
	size_t size;
	bool failed;
};

/** @return NULL if memory is short. */
struct snapshot *snapshot_create(void);

/** Keep a string. */
size_t snapshot_text(struct snapshot *snapshot, const char *text);
/**
 * Add a sample. Where memory is short it is missing.
 * @param family One of those of exposition.h, or any name: a gauge.
 */
void snapshot_add(struct snapshot *snapshot, const char *family, const struct om_label *labels,
		  size_t count, double value);
/** The same, of which the value is the time since @p since_ns. */
void snapshot_add_since(struct snapshot *snapshot, const char *family,
			const struct om_label *labels, size_t count, uint64_t since_ns);
void snapshot_add_alert(struct snapshot *snapshot, const struct alert *alert);

/**
 * No more is added. Of samples with equal names and labels, of which hosts may make any, one is left.
 * @return false if memory was short; the snapshot is of no use.
 */
bool snapshot_seal(struct snapshot *snapshot);

struct snapshot *snapshot_get(struct snapshot *snapshot);
/** Give it back. NULL is allowed. */
void snapshot_put(struct snapshot *snapshot);

#endif
