/* SPDX-License-Identifier: Apache-2.0 */
// Text in the format of OpenMetrics 1.0 (openmetrics.io), which Prometheus reads. Samples of one family follow each other; the
// text ends with om_end().
#ifndef GS_GRASS_OPENMETRICS_H
#define GS_GRASS_OPENMETRICS_H

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
	// Of the family that is being written.
	char name[128];
	enum om_type type;
};

// Begin a family. @name: without the suffix of its samples ("_total", "_info").
void om_family(struct om *om, const char *name, enum om_type type, const char *help);
// A sample. Values of labels are any bytes; what is no UTF-8 becomes U+FFFD.
void om_sample(struct om *om, const struct om_label *labels, size_t count, double value);
void om_end(struct om *om);

// Make a name out of any text: letters, digits and '_', not a digit first.
void om_name(const char *text, char *buf, size_t len);

#endif
