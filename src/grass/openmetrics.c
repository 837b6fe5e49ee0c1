// SPDX-License-Identifier: Apache-2.0
#include "grass/openmetrics.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static const char *const type_names[] = {
	[OM_GAUGE] = "gauge",
	[OM_COUNTER] = "counter",
	[OM_INFO] = "info",
	[OM_STATESET] = "stateset",
};

static const char *const suffixes[] = {
	[OM_GAUGE] = "",
	[OM_COUNTER] = "_total",
	[OM_INFO] = "_info",
	[OM_STATESET] = "",
};

// Bytes of the UTF-8 character at @text; 0: it is none. RFC 3629, section 4.
static size_t utf8_size(const unsigned char *text)
{
	size_t size = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;

	if (*text > 0xf4)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] > 0x9f) ||
	    (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] > 0x8f))
		return 0;
	return size;
}

static void put_escaped(struct om *om, const char *text)
{
	while (*text) {
		size_t size = utf8_size((const unsigned char *)text);

		if (!size) {
			fputs("\xef\xbf\xbd", om->out);
			size = 1;
		} else if (*text == '\n') {
			fputs("\\n", om->out);
		} else if (*text == '"' || *text == '\\') {
			fprintf(om->out, "\\%c", *text);
		} else {
			fwrite(text, 1, size, om->out);
		}
		text += size;
	}
}

void om_name(const char *text, char *buf, size_t len)
{
	size_t used = 0;

	if (!len)
		return;
	if (isdigit((unsigned char)*text) && used + 1 < len)
		buf[used++] = '_';
	for (; *text && used + 1 < len; text++)
		buf[used++] =
			isalnum((unsigned char)*text) && (unsigned char)*text < 0x80 ? *text : '_';
	buf[used] = '\0';
}

void om_family(struct om *om, const char *name, enum om_type type, const char *help)
{
	om_name(name, om->name, sizeof(om->name));
	om->type = type;
	fprintf(om->out, "# TYPE %s %s\n# HELP %s ", om->name, type_names[type], om->name);
	put_escaped(om, help);
	fputc('\n', om->out);
}

void om_sample(struct om *om, const struct om_label *labels, size_t count, double value)
{
	fprintf(om->out, "%s%s", om->name, suffixes[om->type]);
	for (size_t i = 0; i < count && i < OM_LABELS; i++) {
		char name[64];

		om_name(labels[i].name, name, sizeof(name));
		fprintf(om->out, "%s%s=\"", i ? "," : "{", name);
		put_escaped(om, labels[i].value);
		fputc('"', om->out);
	}
	if (count)
		fputc('}', om->out);
	if (isnan(value))
		fputs(" NaN\n", om->out);
	else if (isinf(value))
		fputs(value < 0 ? " -Inf\n" : " +Inf\n", om->out);
	else if (value == floor(value) && fabs(value) < 9007199254740992.0)
		fprintf(om->out, " %.0f\n", value);
	else
		fprintf(om->out, " %.9g\n", value);
}

void om_end(struct om *om)
{
	fputs("# EOF\n", om->out);
}
