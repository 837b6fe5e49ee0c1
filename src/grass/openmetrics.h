/* SPDX-License-Identifier: Apache-2.0 */
// Text in the format of OpenMetrics 1.0 (openmetrics.io), which Prometheus reads, or in Prometheus' older one (0.0.4), which knows
// gauges and counters alone. Samples of one family follow each other; the text ends with om_end().
#ifndef GS_GRASS_OPENMETRICS_H
#define GS_GRASS_OPENMETRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum om_type { OM_GAUGE, OM_COUNTER, OM_INFO, OM_STATESET };

struct om_label {
	const char *name, *value;
};

// Labels of one sample at most; more are left out.
#define OM_LABELS 16

struct om {
	FILE *out;
	// The older format.
	bool plain;
	// Of the family that is being written.
	char name[128];
	enum om_type type;
};

// Begin a family. @name: without the suffix of its samples ("_total", "_info").
void om_family(struct om *om, const char *name, enum om_type type, const char *help);
// A sample.
void om_sample(struct om *om, const struct om_label *labels, size_t count, double value);
// The same, with labels as om_labels() has written them.
void om_sample_text(struct om *om, const char *labels, double value);
void om_end(struct om *om);

// Labels of a sample, "{...}", or nothing if there are none. Values are any bytes; what is no UTF-8 becomes U+FFFD. Names become
// names; one that another has already is left out.
void om_labels(FILE *out, const struct om_label *labels, size_t count);

// Make a name out of any text: letters, digits and '_', not a digit first.
void om_name(const char *text, char *buf, size_t len);

#endif
